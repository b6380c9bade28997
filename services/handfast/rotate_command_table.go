package main

import (
	"strconv"

	"github.com/handfast/handfast/services/handfast/operator"
	"github.com/handfast/handfast/services/handfast/table"
)

func rotationTable(all []operator.RotationStatus) *table.Table {
	t := newTable(table.Column{Name: "NAME", Least: leastName}, table.Column{Name: "STATE", Whole: true}, table.Column{Name: "FROM", Least: leastName, Line: 1},
		table.Column{Name: "TO", Least: leastName, Line: 2}, table.Column{Name: "DONE", Whole: true}, table.Column{Name: "ACCEPTED", Line: 3}, table.Column{Name: "REFUSED", Line: 3},
		table.Column{Name: "UNREACHABLE", Line: 3}, table.Column{Name: "WAITING", Line: 3}, table.Column{Name: "SINCE", Whole: true})
	for _, status := range all {
		if r := status.Rotation; r != nil {
			t.Row(status.Identity, r.State.String(), status.Uses, status.To, strconv.Itoa(status.Percent())+" %", strconv.Itoa(len(status.Accepted)), strconv.Itoa(len(status.Refused)),
				strconv.Itoa(len(status.Unreachable)), strconv.Itoa(len(status.Waiting)), date(r.StartedAt))
		} else if last, ended := status.Ended(); ended {
			t.Row(status.Identity, last.How.String(), last.From, last.To, "", "", "", "", "", date(last.EndedAt))
		}
	}
	return t
}
