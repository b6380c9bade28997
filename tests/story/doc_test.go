// Package story tells how the commands are used, as txtar scripts against a running `handfast dev`.
package story

import _ "github.com/rogpeppe/go-internal/testscript"
