package rotation_test

import (
	"fmt"
	"time"

	"github.com/handfast/handfast/pkg/endpoint"
	"github.com/handfast/handfast/pkg/rotation"
)

// A command reads the assignment, changes it and writes it back, if nobody else has in the meantime.
func ExampleStart() {
	now := time.Date(2026, 1, 2, 3, 4, 5, 0, time.UTC)
	a, err := rotation.Start(rotation.Assign("default"), "default-2026", now, "ada")
	fmt.Println(a.Uses, "→", a.Rotation.To, a.Rotation.State, err)

	_, err = rotation.Start(a, "another", now, "bob")
	fmt.Println(err)
	// Output:
	// default → default-2026 running <nil>
	// identity "default" is being rotated to "default-2026" since 2026-01-02T03:04:05Z (running): let that end, or roll it back first
}

// A receiver that forbids the next identity what it allows the current one has not accepted it.
func ExampleJudge() {
	to := rotation.Result{End: rotation.Answered, Status: 403}
	uses := rotation.Result{End: rotation.Answered, Status: 204}
	j := rotation.Judge(to, uses, "default-2026", "default")
	fmt.Println(j.Stage, j.Basis)
	fmt.Println(j.Reason)
	fmt.Println(j.Advice)
	// Output:
	// refused inferred
	// it lets the certificate of default-2026 in and then refuses the name: it answered HTTP 403 (Forbidden), and it answered HTTP 204 (No Content) to default
	// Let the receiver allow the name of default-2026 wherever it allows that of default
}

// catalogue is a registry with one endpoint.
type catalogue struct{ target rotation.Target }

func (c catalogue) Live(string) []rotation.Target { return []rotation.Target{c.target} }
func (c catalogue) Mark(endpoint.Key) string      { return c.target.Mark }
func (c catalogue) Partition(endpoint.Key) int    { return 7 }

// For each attempt, the board says who we are.
func ExampleBoard_Presents() {
	now := time.Date(2026, 1, 2, 3, 4, 5, 0, time.UTC)
	target := rotation.Target{Key: endpoint.Key{Tenant: "acme", Name: "orders"}, Revision: 1, Mark: "m"}
	board := rotation.NewBoard(catalogue{target})
	show := func(what string) { fmt.Printf("%s: %q\n", what, board.Presents("default", target.Key)) }

	show("store not read")
	board.Loaded()
	show("never rotated")

	a, _ := rotation.Start(rotation.Assign("default"), "next", now, "ada")
	value, _ := a.Encode()
	_ = board.PutAssignment(rotation.AssignmentKey("default"), value, 1)
	show("not proved yet")

	s, _ := rotation.AcceptByHand(a, rotation.Status{}, target, now, "ada")
	value, _ = s.Encode()
	_ = board.PutStatus(rotation.StatusKey("default", 7, target.Key), value, 2)
	show("accepted")

	board.Fell(rotation.Fall{Identity: "default", Endpoint: target.Key, Presented: "next", Reason: "alert unknown_ca"}, now)
	show("refused after all")
	// Output:
	// store not read: ""
	// never rotated: "default"
	// not proved yet: "default"
	// accepted: "next"
	// refused after all: "default"
}
