package kit

import (
	"encoding/json"
	"strings"
	"time"

	"github.com/handfast/handfast/pkg/alert"
	"github.com/handfast/handfast/pkg/stream"
)

// Alert is one operational event that was told.
type Alert struct {
	Type    alert.Type
	Subject string
	// At is when the broker had it.
	At time.Time
	// Data is what it says.
	Data map[string]any
}

// Alerts reads the operational events that the broker still keeps, in order.
func (w *World) Alerts() []Alert {
	w.T.Helper()
	var all []Alert
	for _, msg := range w.messages(stream.Events) {
		if !strings.HasPrefix(msg.Subject, "events."+alert.Tenant+".") {
			continue
		}
		told := Alert{Type: alert.Type(msg.Header.Get("ce-type")), Subject: msg.Header.Get("ce-subject"), At: msg.Time}
		if err := json.Unmarshal(msg.Data, &told.Data); err != nil {
			w.T.Errorf("an alert that is no JSON: %v", err)
		}
		all = append(all, told)
	}
	return all
}
