// Package schema holds the JSON Schemas by which a tenant's events are checked: many versions of each type of event, each
// of which never changes.
//
//	               stored   in force for events that      named by the dataschema   pinned by
//	                        name no version               of an event               an endpoint
//	version 1      10:00    10:00 + Delay, until 2 is     until it is deleted       always
//	version 2      11:00    11:00 + Delay, until deleted  until it is deleted       always
//
//	document ─ Compile ─▶ Schema ─ Check(data) ─▶ nil, or a *ViolationError with everything that is wrong
//	bucket ─ Registry.Put ─▶ Set of one type's versions ─ Registry.Judge(event, when) ─▶ Verdict
//
// Which version an event is checked against depends only on the event, on when the broker stored it, and on when the
// broker stored the versions and their deletions. So two signers, and one that repeats the work of another after a
// crash, decide the same; [Delay] is the time that a signer has to hear about a change.
//
// Schemas are JSON Schema draft 2020-12, and nothing else. The keyword format is checked. Regular expressions are those
// of Go (RE2), which take linear time; lookaround and backreferences do not exist in it.
//
// # What it must never do
//
//   - Fetch anything: a $ref leads into the same document, or the schema is refused.
//   - Spend unbounded work: documents, nesting, numbers, expressions and the steps of one check have bounds.
//   - Let data pass because a schema cannot be used: such events wait.
//   - Stop at the first mistake of a document, or of data.
//   - Look at data in which a name stands twice: receivers differ in which of the two they take.
package schema
