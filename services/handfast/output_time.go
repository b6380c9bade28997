package main

import (
	"strconv"
	"time"
)

// shortStamp gives the short form of a cell that [stamp] wrote, in UTC as that is: 11-24 19:25:55 in the year of now, and
// 2025-11-24 19:25 in others. Other cells stay as they are.
func shortStamp(now time.Time) func(string) string {
	return func(cell string) string {
		at, err := time.Parse(time.RFC3339, cell)
		switch {
		case err != nil:
			return cell
		case at.UTC().Year() == now.UTC().Year():
			return at.UTC().Format("01-02 15:04:05")
		}
		return at.UTC().Format("2006-01-02 15:04")
	}
}

// shortAhead gives the short form of a time to come that [stamp] wrote: in 31m, or due. Other cells stay as they are.
func shortAhead(now time.Time) func(string) string {
	return func(cell string) string {
		at, err := time.Parse(time.RFC3339, cell)
		if err != nil {
			return cell
		}
		switch left := at.Sub(now); {
		case left <= 0:
			return "due"
		case left < 2*time.Minute:
			return in(left, time.Second, "s")
		case left < 2*time.Hour:
			return in(left, time.Minute, "m")
		case left < 48*time.Hour:
			return in(left, time.Hour, "h")
		default:
			return in(left, 24*time.Hour, "d")
		}
	}
}

func in(left, unit time.Duration, letter string) string {
	return "in " + strconv.FormatInt(int64((left+unit-1)/unit), 10) + letter
}
