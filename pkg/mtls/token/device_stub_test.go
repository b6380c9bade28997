//go:build !cgo

package token

import (
	"testing"

	"github.com/stretchr/testify/require"
)

func TestWithoutCgoTheReasonIsTold(t *testing.T) {
	story(t, func(f *fake) {
		_, err := Open(f.t.Context(), "acme", f.config, Options{})
		require.ErrorIs(t, err, ErrWithoutCgo)
		require.ErrorContains(t, err, `client identity "acme": this binary was built without cgo`)
		_, err = Request(f.t.Context(), f.config, nil)
		require.Error(t, err)
	})
}
