package doctor_test

import (
	"context"
	"fmt"
	"net"
	"net/url"
	"syscall"

	"github.com/handfast/handfast/pkg/doctor"
)

func ExampleExamine() {
	to, _ := url.Parse("https://192.0.2.7/in")
	report, err := doctor.Examine(context.Background(), doctor.Target{URL: to}, doctor.Options{
		Dial: func(context.Context, string, string) (net.Conn, error) { return nil, syscall.ECONNREFUSED },
	})
	if err != nil {
		fmt.Println(err)
		return
	}
	fmt.Print(report.Text(70))
	// Output:
	//  1 ✗ connection: 192.0.2.7:443 refused the TCP connection: the host is
	//      there, but nothing listens on this port.
	//
	// Do:
	//  1   Receiver: start the listener, or open its port.
	//      Here: check the port in the URL.
	//
	// Not healthy: a delivery would end as connection_refused.
}
