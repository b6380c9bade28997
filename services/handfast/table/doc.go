// Package table writes rows as a text table that fits a terminal.
//
//	everything on one line      columns that may be cut shrink, those that give first and then the widest
//	 └ too narrow ─▶ short forms of cells, such as `in 31m` for a time
//	    └ too narrow ─▶ spare columns are left out
//	       └ too narrow ─▶ several lines a row, nothing left out
//	          └ too narrow ─▶ several lines a row without the spare columns
//
//	ENDPOINT      URL                        STATE     DELIVERY                              AT              TRY
//	acme/orders   https://hooks.example…     active      ENDPOINT     OUTCOME
//	                                                   msg_3kq…                              11-24 19:25:55  2
//	                                                     acme/orders  rejected 404
//
// A cell of a column that must not be cut, such as an id that people copy, is written whole even when the line becomes
// too long. Control characters never reach the terminal.
package table
