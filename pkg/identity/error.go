package identity

import (
	"errors"
	"fmt"
	"strings"

	"github.com/handfast/handfast/pkg/mtls"
)

// ErrConflict is what a [Store] wraps when an entry has changed since it was
// read. Nothing was written; whoever wrote first was right.
var ErrConflict = errors.New("the entry has changed in the meantime")

// RefusedError is why something cannot be done with an identity or an authority.
type RefusedError struct {
	What     string   // what it is about, for example `client identity "default"`
	Act      string   // what was tried, for example "imported"
	Problems []string // every problem, each a clause in words; never empty
	Cause    error    // what a caller may decide on, or nil
}

// Error tells all problems in one line.
func (e *RefusedError) Error() string {
	return fmt.Sprintf("%s cannot be %s: %s", e.What, e.Act, strings.Join(e.Problems, "; "))
}

// Unwrap is Cause.
func (e *RefusedError) Unwrap() error { return e.Cause }

// problems collects what is wrong, in words, until the moment to say it all.
type problems []string //nolint:recvcheck // filled in place, read as a value

func (p *problems) addf(format string, args ...any) { *p = append(*p, fmt.Sprintf(format, args...)) }

// take adds an error; that of mtls.NewIdentity as the list that it is.
func (p *problems) take(err error) {
	if err == nil {
		return
	}
	if identity, ok := errors.AsType[*mtls.IdentityError](err); ok {
		*p = append(*p, identity.Problems...)
		return
	}
	*p = append(*p, err.Error())
}

func (p problems) refuse(what, act string) error {
	if len(p) == 0 {
		return nil
	}
	return &RefusedError{What: what, Act: act, Problems: p}
}

// refuseFor refuses for one reason, which a caller can still decide on.
func refuseFor(err error, what, act string) error {
	var wrong problems
	wrong.take(err)
	return &RefusedError{What: what, Act: act, Problems: wrong, Cause: err}
}

func identityLabel(name string) string { return fmt.Sprintf("client identity %q", name) }

func authorityLabel(name string) string { return fmt.Sprintf("authority %q", name) }
