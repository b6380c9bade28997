// Package configuration lets the flags, the environment and a YAML file say the same things, and tells every mistake in
// them at once.
//
//	--concurrency 64          flag: wins over
//	HANDFAST_CONCURRENCY=64   environment: wins over
//	concurrency: 64           file named by --config: wins over
//	default:"256"             the struct tag
//
// The structs that kong reads are the only list of settings. The reference page is made from them, too.
//
//	values parsed ──mistakes noted, not returned──▶ Reader ◀── the command's own checks
//	                                                  │
//	                                                  └── one Error with all of them, or none: only then the command runs
//
// It must never print the value of a setting that holds a secret; secrets stand in files, so there is none.
package configuration
