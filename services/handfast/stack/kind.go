package stack

// use is a value of the input that not every stack needs.
type use uint

const (
	// usesServer: listens and has a certificate by itself.
	usesServer use = 1 << iota
	// usesUpstream: forwards to an application.
	usesUpstream
	// usesSubject: compares the whole subject, because it sees no SAN.
	usesSubject
	// usesNamespace: lies in a namespace.
	usesNamespace
	// usesCAFile: reads the CA from a file.
	usesCAFile
)

// kind is one stack.
type kind struct {
	name   string
	config string
	// files gives the template of each file.
	files map[string]string
	uses  use
	// listen is the default for Input.Listen.
	listen string
	// header is where the application finds the client's certificate, and wire how it is written there.
	header string
	wire   wire
	// oneFile: certificate and key are one file, or the key is beside it under the name of the certificate and .key.
	oneFile bool
}

// wire is how a proxy writes a certificate into a header.
type wire string

const (
	// byteSequence is RFC 9440: base64 of the DER between colons.
	byteSequence wire = "byte-sequence"
	// escapedPEM is percent-encoded PEM.
	escapedPEM wire = "escaped-pem"
)

const (
	webPort     = ":443"
	programPort = ":8443"
)

func kinds() []kind {
	proxy := usesServer | usesUpstream | usesCAFile
	program := usesServer | usesCAFile
	return []kind{
		{
			name: "nginx", config: "handfast.conf", uses: proxy | usesSubject, listen: webPort, header: "X-SSL-Client-Cert", wire: escapedPEM,
			files: with("nginx", "handfast.conf", caller),
		},
		{
			name: "caddy", config: "Caddyfile", uses: proxy, listen: webPort, header: "Client-Cert", wire: byteSequence,
			files: with("caddy", "Caddyfile"),
		},
		{
			name: "haproxy", config: "haproxy.cfg", uses: proxy | usesSubject, listen: webPort, header: "Client-Cert", wire: byteSequence, oneFile: true,
			files: with("haproxy", "haproxy.cfg", caller),
		},
		{
			name: "envoy", config: "envoy.yaml", uses: proxy, listen: webPort, header: "X-Forwarded-Client-Cert",
			files: with("envoy", "envoy.yaml"),
		},
		{name: "node", config: "receiver.mjs", uses: program, listen: programPort, files: with("node", "receiver.mjs")},
		{name: "go", config: "main.go", uses: program, listen: programPort, files: with("go", "main.go", "go.mod")},
		{name: "java", config: "Receiver.java", uses: program, listen: programPort, files: with("java", "Receiver.java")},
		{
			name: "aws-alb", config: "template.yaml", header: "X-Amzn-Mtls-Clientcert-Leaf", wire: escapedPEM,
			files: with("aws-alb", "template.yaml", caller),
		},
		{
			name: "kubernetes-ingress", config: "ingress.yaml", uses: usesUpstream | usesNamespace, header: "SSL-Client-Cert", wire: escapedPEM,
			files: with("kubernetes-ingress", "ingress.yaml", caller),
		},
	}
}

// caller checks the name in the application's place.
const caller = "caller.mjs"

// with finds the template of each file, and that of the steps.
func with(folder string, files ...string) map[string]string {
	found := map[string]string{"README.md": folder + "/README.md"}
	for _, file := range files {
		found[file] = folder + "/" + file
		if file == caller {
			found[file] = "shared/" + file
		}
	}
	return found
}

// identityHeaders are names by which one proxy or another tells an application who the caller is. One that came in
// from outside is a lie.
func identityHeaders() []string {
	return []string{
		"Client-Cert", "Client-Cert-Chain", // RFC 9440
		"X-Forwarded-Client-Cert",
		"X-SSL-Client-Cert", "X-SSL-Client-Verify", "X-SSL-Client-S-DN", "X-SSL-Client-DN", "X-SSL-Client-I-DN",
		"SSL-Client-Cert", "SSL-Client-Verify", "SSL-Client-Subject-DN", "SSL-Client-Issuer-DN",
		"X-Client-Cert", "X-Client-Verify", "X-Client-DN",
		"X-Forwarded-Tls-Client-Cert", "X-Forwarded-Tls-Client-Cert-Info",
		"X-Amzn-Mtls-Clientcert", "X-Amzn-Mtls-Clientcert-Leaf", "X-Amzn-Mtls-Clientcert-Subject",
		"X-Amzn-Mtls-Clientcert-Issuer", "X-Amzn-Mtls-Clientcert-Serial-Number", "X-Amzn-Mtls-Clientcert-Validity",
		"X-ARR-ClientCert",
	}
}
