package event

import "strings"

const (
	subjectPrefix = "events."
	maxTenant     = 63
)

// Subject returns the NATS subject on which a tenant publishes events of one
// type: events.<tenant>.<type>. The error is an [*InvalidError].
func Subject(tenant, eventType string) (string, error) {
	var bad reasons
	if problem := tenantProblem(tenant); problem != "" {
		bad.add(fieldTenant, problem)
	}
	if problem := typeProblem(eventType); problem != "" {
		bad.add("ce-type", problem)
	}
	if len(bad) > 0 {
		if bad.about(fieldTenant) {
			tenant = ""
		}
		return "", bad.err(tenant)
	}
	return subjectPrefix + tenant + "." + eventType, nil
}

// splitSubject reads tenant and type out of a subject. Each is "" when it cannot
// be read or is not valid.
func splitSubject(subject string, bad *reasons) (tenant, eventType string) {
	rest, found := strings.CutPrefix(subject, subjectPrefix)
	if !found {
		bad.addf(fieldSubject, "is %s; events are published on events.<tenant>.<type>", quote(subject))
		return "", ""
	}
	tenant, eventType, _ = strings.Cut(rest, ".")
	if problem := tenantProblem(tenant); problem != "" {
		bad.addf(fieldSubject, "%s: its second token, the tenant, %s", quote(subject), problem)
		tenant = ""
	}
	if problem := typeProblem(eventType); problem != "" {
		bad.addf(fieldSubject, "%s: what follows the tenant, the type, %s", quote(subject), problem)
		eventType = ""
	}
	return tenant, eventType
}

// tenantProblem returns "" for a valid tenant. The rule is that of a DNS label,
// so that a tenant can become a host name, a metric label or a file name.
func tenantProblem(tenant string) string {
	const rule = "is %s; a tenant is 1 to 63 of a-z, 0-9 and \"-\", and starts and ends with a letter or digit"
	if tenant == "" || len(tenant) > maxTenant || tenant[0] == '-' || tenant[len(tenant)-1] == '-' {
		return strings.Replace(rule, "%s", quote(tenant), 1)
	}
	for i := range len(tenant) {
		if c := tenant[i]; !isLowerAlphanumeric(c) && c != '-' {
			return strings.Replace(rule, "%s", quote(tenant), 1)
		}
	}
	return ""
}

// typeProblem returns "" for a type that can stand in a NATS subject.
func typeProblem(eventType string) string {
	if eventType == "" {
		return "is missing or empty"
	}
	if eventType[0] == '.' || eventType[len(eventType)-1] == '.' || strings.Contains(eventType, "..") {
		return "is " + quote(eventType) + "; it has an empty token: remove the dot that begins, ends or repeats"
	}
	for i := range len(eventType) {
		switch c := eventType[i]; {
		case c <= ' ' || c > '~':
			return "is " + quote(eventType) + "; use printable ASCII without white space, because the type is part of a NATS subject"
		case c == '*' || c == '>':
			return "is " + quote(eventType) + `; "*" and ">" are wildcards of NATS and cannot be part of a type`
		}
	}
	return ""
}

func isLowerAlphanumeric(c byte) bool {
	return 'a' <= c && c <= 'z' || '0' <= c && c <= '9'
}
