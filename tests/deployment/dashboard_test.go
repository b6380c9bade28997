package deployment

import (
	"encoding/json"
	"io/fs"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/handfast/handfast/pkg/delivery"
)

// dashboard is deploy/dashboards/handfast.json, as far as ours needs it.
type dashboard struct {
	Title  string  `json:"title"`
	Panels []panel `json:"panels"`
}

type panel struct {
	ID          int    `json:"id"`
	Title       string `json:"title"`
	Description string `json:"description"`
	Datasource  source `json:"datasource"`
	Targets     []struct {
		Expr       string `json:"expr"`
		Legend     string `json:"legendFormat"`
		Datasource source `json:"datasource"`
	} `json:"targets"`
}

type source struct {
	UID string `json:"uid"`
}

func readDashboard(t *testing.T) dashboard {
	t.Helper()
	var d dashboard
	require.NoError(t, json.Unmarshal([]byte(file(t, "dashboards/handfast.json")), &d))
	require.NotEmpty(t, d.Panels)
	return d
}

var (
	metricName = regexp.MustCompile(`\b(?:handfast_[a-z0-9_]+|target_info)\b`)
	labelMatch = regexp.MustCompile(`(\w+)(?:=|!=|=~|!~)"([^"]*)"`)
)

// exceptional are made by what does not happen in a good run; the code has them.
func exceptional() map[string]string {
	return map[string]string{"handfast_repeats_total": "handfast.repeats", "handfast_activations_total": "handfast.activations", "handfast_deadletters_total": "handfast.deadletters"}
}

// checkMetrics holds every metric of the dashboard and of the alerts against what a signer and a dispatcher expose.
func checkMetrics(t *testing.T, signer, dispatcher string) {
	t.Helper()
	exposed := map[string]bool{}
	for line := range strings.Lines(signer + dispatcher) {
		if name := metricName.FindString(line); !strings.HasPrefix(line, "#") {
			exposed[name] = true
		}
	}
	assert.True(t, exposed["handfast_lanes"] && exposed["handfast_events_total"], "both have been scraped")
	texts := map[string]string{"the alerts": regexp.MustCompile(`(?m)^ +(summary|description):.*$`).ReplaceAllString(file(t, "alerts/handfast.yaml"), "")}
	for _, p := range readDashboard(t).Panels {
		for _, target := range p.Targets {
			texts[p.Title] += target.Expr + "\n"
		}
	}
	for where, text := range texts {
		for _, name := range metricName.FindAllString(text, -1) {
			instrument, rare := exceptional()[name]
			switch {
			case rare && exposed[name]:
				assert.Fail(t, name+" is exposed, so it needs no exception")
			case rare:
				assert.True(t, inCode(t, `"`+instrument+`"`), "%s: no code makes %s", where, name)
			default:
				assert.True(t, exposed[name], "%s: nobody exposes %s", where, name)
			}
		}
	}
	for _, job := range []string{signer, dispatcher} {
		assert.Regexp(t, `(?m)^target_info\{.*service_name="handfast-(signer|dispatcher)"`, job)
	}
}

func inCode(t *testing.T, text string) bool {
	t.Helper()
	found := false
	for _, folder := range []string{"pkg", "services"} {
		require.NoError(t, filepath.WalkDir(filepath.Join("..", "..", folder), func(path string, entry fs.DirEntry, err error) error {
			if err != nil || entry.IsDir() || !strings.HasSuffix(path, ".go") || strings.HasSuffix(path, "_test.go") {
				return err
			}
			content, err := os.ReadFile(path)
			found = found || strings.Contains(string(content), text)
			return err
		}))
	}
	return found
}

func TestDashboardIsWhole(t *testing.T) {
	ids := map[int]bool{}
	for _, p := range readDashboard(t).Panels {
		assert.False(t, ids[p.ID], "%s: a second panel has its number", p.Title)
		ids[p.ID] = true
		assert.NotEmpty(t, p.Description, "%s does not say what it means", p.Title)
		assert.Equal(t, "${datasource}", p.Datasource.UID, p.Title)
		assert.NotEmpty(t, p.Targets, p.Title)
		for _, target := range p.Targets {
			assert.Equal(t, "${datasource}", target.Datasource.UID, p.Title)
			assert.NotEmpty(t, metricName.FindString(target.Expr), p.Title)
			assert.Equal(t, strings.Count(target.Expr, "("), strings.Count(target.Expr, ")"), p.Title)
			for label := range strings.SplitSeq(strings.ReplaceAll(target.Legend, "}}", "{{"), "{{") {
				if strings.Contains(target.Legend, "{{"+label+"}}") && label != "instance" {
					assert.Regexp(t, `by \([^)]*\b`+label+`\b`, target.Expr, "%s: %s is summed away", p.Title, label)
				}
			}
		}
	}
}

// TestDashboardKnowsTheOutcomes has each group of outcomes be that of the code: an outcome that is new has a place.
func TestDashboardKnowsTheOutcomes(t *testing.T) {
	turns := map[delivery.Turn][]string{}
	for _, outcome := range delivery.Outcomes() {
		turns[outcome.Turn()] = append(turns[outcome.Turn()], outcome.String())
	}
	seen := 0
	for _, p := range readDashboard(t).Panels {
		for _, target := range p.Targets {
			for _, found := range labelMatch.FindAllStringSubmatch(target.Expr, -1) {
				values := strings.Split(found[2], "|")
				switch {
				case found[1] == "outcome" && p.Title == "What comes next":
					turn := map[string]delivery.Turn{
						"tried again": delivery.TurnRetry, "held": delivery.TurnHold, "signed again": delivery.TurnSign,
					}[target.Legend]
					assert.ElementsMatch(t, turns[turn], values, target.Legend)
					seen++
				case found[1] == "outcome":
					for _, value := range values {
						require.NoError(t, new(delivery.Outcome).UnmarshalText([]byte(value)), p.Title)
					}
				case found[1] == "result":
					known := []string{"signed", "again", "refused", "stored", "failed", "ok"}
					assert.True(t, slices.Contains(known, found[2]), "%s: result %s", p.Title, found[2])
				case found[1] == "service_name":
					assert.Contains(t, []string{"handfast-signer", "handfast-dispatcher"}, found[2])
				default:
					assert.Fail(t, p.Title+": a label that this test does not know: "+found[0])
				}
			}
		}
	}
	assert.Equal(t, 3, seen, "what is given up has a count of its own")
}
