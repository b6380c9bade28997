// Package table writes rows as a text table that fits a terminal.
//
//	ENDPOINT      URL                        STATE     first the widths that the cells want,
//	acme/orders   https://hooks.example…     active    then the columns that may be cut shrink, the widest first
//
// A cell of a column that must not be cut, such as an id that people copy, is written whole even when the line becomes
// too long. Control characters never reach the terminal.
package table
