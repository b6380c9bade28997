// Package schemas holds the JSON Schemas (draft 2020-12) of the documents that
// cross a boundary of Handfast, embedded in the binary.
//
//	schemas/<name>.schema.json ──embed──▶ Get(name)      the text, for editors and "handfast schema"
//	                                  └─▶ Compile(name)  ready to validate with
//
// Adding a file with an absolute $id is enough: Names, Get and Compile find it,
// another schema may refer to it by that $id, and the tests of this package
// check it. Nothing here ever reads a file or a URL at run time: a reference
// that leaves this folder is an error.
package schemas
