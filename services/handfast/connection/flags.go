package connection

import (
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"net/url"
	"os"
	"strings"

	"github.com/nats-io/nats.go"
)

// Flags say where NATS is and who we are there. At most one of credentials, user and nkey is given.
type Flags struct {
	Server       []string `default:"nats://127.0.0.1:4222" env:"HANDFAST_SERVER" group:"NATS" help:"URL of a NATS server: nats://, tls://, ws:// or wss://. Repeat it, or separate with commas, to name several of one cluster." placeholder:"URL"`
	Credentials  string   `env:"HANDFAST_NATS_CREDENTIALS" group:"NATS" help:"Credentials file (user JWT with its seed)." name:"nats-credentials" placeholder:"FILE"`
	User         string   `env:"HANDFAST_NATS_USER" group:"NATS" help:"User name; needs --nats-password-file." name:"nats-user" placeholder:"NAME"`
	PasswordFile string   `env:"HANDFAST_NATS_PASSWORD_FILE" group:"NATS" help:"File with the user's password and nothing else." name:"nats-password-file" placeholder:"FILE"`
	NKey         string   `env:"HANDFAST_NATS_NKEY" group:"NATS" help:"File with the user's NKey seed." name:"nats-nkey" placeholder:"FILE"`
	CA           string   `env:"HANDFAST_NATS_CA" group:"NATS" help:"PEM file with the authorities that may have issued the server's certificate; without it, those of the system. Turns TLS on." name:"nats-ca" placeholder:"FILE"`
	Certificate  string   `env:"HANDFAST_NATS_CERTIFICATE" group:"NATS" help:"PEM file with our certificate for a server that asks for one; needs --nats-key. It is read again at every connect." name:"nats-certificate" placeholder:"FILE"`
	Key          string   `env:"HANDFAST_NATS_KEY" group:"NATS" help:"PEM file with the key of our certificate." name:"nats-key" placeholder:"FILE"`
	Inbox        string   `env:"HANDFAST_NATS_INBOX" group:"NATS" help:"Prefix of the subjects on which answers arrive, when this user's permissions differ from those in deploy/nats. Each user needs its own." name:"nats-inbox" placeholder:"PREFIX"`
}

// Problems lists everything that is wrong with the flags and the files that they name. Nothing is connected.
func (f *Flags) Problems() []error {
	_, problems := f.options()
	return problems
}

// options turns the flags into options of the client library, with every problem found on the way.
func (f *Flags) options() (options []nats.Option, problems []error) {
	report := func(flag, format string, args ...any) {
		problems = append(problems, fmt.Errorf("--"+flag+": "+format, args...))
	}
	for _, server := range f.Server {
		if err := checkServer(server); err != nil {
			report("server", "%w", err)
		}
	}
	if len(f.Server) == 0 {
		report("server", "no server is named")
	}
	options = append(options, f.user(report)...)
	options = append(options, f.tls(report)...)
	if f.Inbox != "" {
		if strings.ContainsAny(f.Inbox, "*> \t\r\n") || strings.HasSuffix(f.Inbox, ".") || strings.HasPrefix(f.Inbox, ".") || strings.Contains(f.Inbox, "..") {
			report("nats-inbox", "%q is not a subject prefix such as _INBOX.signer", f.Inbox)
		} else {
			options = append(options, nats.CustomInboxPrefix(f.Inbox))
		}
	}
	return options, problems
}

func checkServer(server string) error {
	u, err := url.Parse(server)
	if err != nil {
		if parse, ok := errors.AsType[*url.Error](err); ok {
			err = parse.Err // the rest of the message repeats the URL, a password perhaps included
		}
		return fmt.Errorf("not a URL: %w", err)
	}
	switch u.Scheme {
	case "nats", "tls", "ws", "wss":
	case "":
		return fmt.Errorf("%q has no scheme; write nats://HOST:PORT", u.Redacted())
	default:
		return fmt.Errorf("%q has scheme %q; NATS has nats, tls, ws and wss", u.Redacted(), u.Scheme)
	}
	if u.Hostname() == "" {
		return fmt.Errorf("%q names no host", u.Redacted())
	}
	return nil
}

type reporter func(flag, format string, args ...any)

func (f *Flags) user(report reporter) []nats.Option {
	ways := 0
	for _, given := range []bool{f.Credentials != "", f.User != "" || f.PasswordFile != "", f.NKey != ""} {
		if given {
			ways++
		}
	}
	if ways > 1 {
		report("nats-credentials", "give one of --nats-credentials, --nats-user with --nats-password-file, and --nats-nkey, not several")
	}
	var options []nats.Option
	if f.Credentials != "" {
		switch text, err := os.ReadFile(f.Credentials); {
		case err != nil:
			report("nats-credentials", "%w", err)
		case !hasCredentials(text):
			report("nats-credentials", "%s holds no user JWT with its seed; `nsc generate creds` writes such a file", f.Credentials)
		default:
			options = append(options, nats.UserCredentials(f.Credentials))
		}
	}
	if f.NKey != "" {
		option, err := nats.NkeyOptionFromSeed(f.NKey)
		if err != nil {
			report("nats-nkey", "%s holds no NKey seed that can be used: %w", f.NKey, err)
		} else {
			options = append(options, option)
		}
	}
	switch {
	case f.User != "" && f.PasswordFile == "":
		report("nats-user", "needs the password in a file: --nats-password-file")
	case f.User == "" && f.PasswordFile != "":
		report("nats-password-file", "needs the name of the user: --nats-user")
	case f.User != "":
		text, err := os.ReadFile(f.PasswordFile)
		password := strings.TrimRight(string(text), "\r\n")
		switch {
		case err != nil:
			report("nats-password-file", "%w", err)
		case password == "":
			report("nats-password-file", "%s is empty", f.PasswordFile)
		default:
			options = append(options, nats.UserInfo(f.User, password))
		}
	}
	return options
}

// hasCredentials lets the client library do what it does at a connect.
func hasCredentials(text []byte) bool {
	var options nats.Options
	if nats.UserCredentialBytes(text)(&options) != nil {
		return false
	}
	if _, err := options.UserJWT(); err != nil {
		return false
	}
	_, err := options.SignatureCB([]byte("probe"))
	return err == nil
}

func (f *Flags) tls(report reporter) []nats.Option {
	var options []nats.Option
	if f.CA != "" {
		switch text, err := os.ReadFile(f.CA); {
		case err != nil:
			report("nats-ca", "%w", err)
		case !x509.NewCertPool().AppendCertsFromPEM(text):
			report("nats-ca", "%s holds no certificate in PEM", f.CA)
		default:
			options = append(options, nats.RootCAs(f.CA))
		}
	}
	switch {
	case f.Certificate != "" && f.Key == "":
		report("nats-certificate", "needs its key: --nats-key")
	case f.Certificate == "" && f.Key != "":
		report("nats-key", "needs its certificate: --nats-certificate")
	case f.Certificate != "":
		if _, err := tls.LoadX509KeyPair(f.Certificate, f.Key); err != nil {
			report("nats-certificate", "cannot be used with --nats-key: %w", err)
		} else {
			options = append(options, nats.ClientCert(f.Certificate, f.Key))
		}
	}
	return options
}

// Name is the servers as people may see them: without user information.
func (f *Flags) Name() string {
	names := make([]string, len(f.Server))
	for i, server := range f.Server {
		names[i] = server
		if u, err := url.Parse(server); err == nil {
			u.User = nil
			names[i] = u.String()
		}
	}
	return strings.Join(names, ", ")
}
