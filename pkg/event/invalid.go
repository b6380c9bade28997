package event

import (
	"cmp"
	"fmt"
	"slices"
	"strconv"
	"strings"
)

// The fields of a [Reason] that are no CloudEvents attribute.
const (
	fieldSubject     = "subject"      // the NATS subject
	fieldTenant      = "tenant"       // the tenant given to a function that publishes
	fieldContentType = "Content-Type" // the NATS header
	fieldData        = "data"
	fieldDataBase64  = "data_base64"
	fieldAttributes  = "attributes" // all of them together
)

// maxReasons bounds an error made of a hostile message, because errors are
// logged and stored.
const maxReasons = 50

// Reason is one thing that is wrong with a message.
type Reason struct {
	// Field is where: "subject" for the NATS subject, "Content-Type" for that
	// header, "ce-id" and so on for a CloudEvents attribute in either mode,
	// "data", "data_base64", "attributes" or "tenant".
	Field string
	// Message is what, and what to do about it.
	Message string
}

// InvalidError says why a message is no valid event. It is safe to log: what it
// quotes of the message is short and printable.
type InvalidError struct {
	// Tenant is whose message it is, or "" when the subject does not tell.
	Tenant string
	// Reasons is everything that is wrong, ordered by field; never empty.
	Reasons []Reason
}

// Error tells every reason in one line.
func (e *InvalidError) Error() string {
	var out strings.Builder
	out.WriteString("the event is not valid")
	if e.Tenant != "" {
		out.WriteString(" (tenant " + e.Tenant + ")")
	}
	for i, reason := range e.Reasons {
		separator := "; "
		if i == 0 {
			separator = ": "
		}
		out.WriteString(separator + reason.Field + " " + reason.Message)
	}
	return out.String()
}

// reasons collects what is wrong.
type reasons []Reason

func (r *reasons) add(field, message string) {
	*r = append(*r, Reason{Field: field, Message: message})
}

func (r *reasons) addf(field, format string, args ...any) {
	r.add(field, fmt.Sprintf(format, args...))
}

// addFirst adds a reason unless something is said about the field already, so
// that one mistake is not told twice.
func (r *reasons) addFirst(field, message string) {
	if !r.about(field) {
		r.add(field, message)
	}
}

func (r *reasons) about(field string) bool {
	return slices.ContainsFunc(*r, func(reason Reason) bool { return reason.Field == field })
}

// err returns nil when nothing is wrong. It sorts, because headers arrive in a
// map and the same message must always give the same error.
func (r *reasons) err(tenant string) error {
	if len(*r) == 0 {
		return nil
	}
	sorted := slices.Clone(*r)
	slices.SortFunc(sorted, func(a, b Reason) int {
		return cmp.Or(cmp.Compare(a.Field, b.Field), cmp.Compare(a.Message, b.Message))
	})
	sorted = slices.Compact(sorted)
	if more := len(sorted) - maxReasons; more > 0 {
		sorted = append(sorted[:maxReasons:maxReasons], Reason{
			Field: fieldAttributes, Message: fmt.Sprintf("and the rest have %d more problems", more),
		})
	}
	return &InvalidError{Tenant: tenant, Reasons: sorted}
}

// quote shows a piece of a message in an error: printable, and never long.
func quote(s string) string {
	const enough = 64
	if len(s) > enough {
		return strconv.QuoteToASCII(s[:enough]) + "…"
	}
	return strconv.QuoteToASCII(s)
}

// attributeField names an attribute in a Reason. Names come from the message, so
// a strange one is quoted.
func attributeField(name string) string {
	for i := range len(name) {
		if c := name[i]; c <= ' ' || c > '~' || i >= maxExtensionName {
			return "ce-" + quote(name)
		}
	}
	return "ce-" + name
}
