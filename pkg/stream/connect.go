package stream

import (
	"fmt"
	"log/slog"
	"time"

	"github.com/nats-io/nats.go"
)

// Connect opens a connection with the settings that every service needs: it reconnects for ever, publishes fail at once
// while it is down (instead of piling up in memory), and what the server refuses asynchronously becomes loud.
func Connect(name, url string, logger *slog.Logger, options ...nats.Option) (*nats.Conn, error) {
	base := []nats.Option{
		nats.Name(name), nats.MaxReconnects(-1), nats.RetryOnFailedConnect(true), nats.ReconnectBufSize(-1),
		nats.ReconnectWait(500 * time.Millisecond), nats.ReconnectJitter(250*time.Millisecond, time.Second),
		nats.PingInterval(10 * time.Second), nats.CustomInboxPrefix("_INBOX." + name),
		nats.ErrorHandler(func(_ *nats.Conn, sub *nats.Subscription, err error) {
			subject := ""
			if sub != nil {
				subject = sub.Subject
			}
			logger.Error("NATS refused something; check this user's permissions", slog.String("subject", subject), slog.Any("error", err))
		}),
		nats.DisconnectErrHandler(func(_ *nats.Conn, err error) {
			if err != nil {
				logger.Warn("connection to NATS lost; work is kept and goes on after reconnecting", slog.Any("error", err))
			}
		}),
		nats.ReconnectHandler(func(nc *nats.Conn) {
			logger.Info("connected to NATS again", slog.String("server", nc.ConnectedServerName()))
		}),
	}
	nc, err := nats.Connect(url, append(base, options...)...)
	if err != nil {
		return nil, fmt.Errorf("connect to NATS: %w", err)
	}
	return nc, nil
}
