// Command handfast is the whole product in one binary: each service, and the tools of operators and receivers, is a
// sub-command. `handfast --help` lists them.
package main
