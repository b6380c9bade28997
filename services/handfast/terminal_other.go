//go:build !unix

package main

import "os"

// terminalColumns is not known here; COLUMNS can tell.
func terminalColumns(*os.File) int { return 0 }
