package alert_test

import (
	"io/fs"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/promhttp"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	otelprometheus "go.opentelemetry.io/otel/exporters/prometheus"
	sdkmetric "go.opentelemetry.io/otel/sdk/metric"
	"go.yaml.in/yaml/v3"

	"github.com/handfast/handfast/pkg/alert"
	"github.com/handfast/handfast/pkg/delivery"
	"github.com/handfast/handfast/schemas"
)

// rules is a Prometheus rule file, as far as ours needs it.
type rules struct {
	Groups []struct {
		Name  string `yaml:"name"`
		Rules []struct {
			Alert       string            `yaml:"alert"`
			Expr        string            `yaml:"expr"`
			For         string            `yaml:"for"`
			Labels      map[string]string `yaml:"labels"`
			Annotations map[string]string `yaml:"annotations"`
		} `yaml:"rules"`
	} `yaml:"groups"`
}

func readRules(t *testing.T) rules {
	t.Helper()
	file, err := os.Open(filepath.Join("..", "..", "deploy", "alerts", "handfast.yaml"))
	require.NoError(t, err)
	defer file.Close()
	decoder := yaml.NewDecoder(file)
	decoder.KnownFields(true)
	var all rules
	require.NoError(t, decoder.Decode(&all))
	return all
}

// exported are the names under which Prometheus sees the instruments that the code makes.
func exported(t *testing.T) map[string]bool {
	t.Helper()
	instrument := regexp.MustCompile(`\.(?:Int64|Float64)(Counter|Histogram|ObservableGauge|UpDownCounter)\(\s*"(handfast[^"]*)"(?:,\s*(metric\.WithUnit\("s"\)))?`)
	names := map[string]bool{}
	for _, folder := range []string{"pkg", "services"} {
		require.NoError(t, filepath.WalkDir(filepath.Join("..", "..", folder), func(path string, entry fs.DirEntry, err error) error {
			if err != nil || entry.IsDir() || !strings.HasSuffix(path, ".go") || strings.HasSuffix(path, "_test.go") {
				return err
			}
			text, err := os.ReadFile(path)
			if err != nil {
				return err
			}
			for _, found := range instrument.FindAllStringSubmatch(string(text), -1) {
				name := strings.ReplaceAll(found[2], ".", "_")
				if found[3] != "" {
					name += "_seconds"
				}
				switch found[1] {
				case "Counter":
					name += "_total"
				case "Histogram":
					name += "_bucket"
				}
				names[name] = true
			}
			return nil
		}))
	}
	return names
}

func TestRulesAreAboutWhatThereIs(t *testing.T) {
	names := exported(t)
	metric := regexp.MustCompile(`handfast_[a-z0-9_]+`)
	label := regexp.MustCompile(`(type|outcome|kind|result)[!=]=?~?"([^"]+)"`)
	alerts := map[string]bool{}
	for _, group := range readRules(t).Groups {
		for _, rule := range group.Rules {
			assert.False(t, alerts[rule.Alert], "%s is there twice", rule.Alert)
			alerts[rule.Alert] = true
			assert.Contains(t, []string{"warning", "critical"}, rule.Labels["severity"], rule.Alert)
			assert.NotEmpty(t, rule.Annotations["summary"], rule.Alert)
			assert.NotEmpty(t, rule.Annotations["description"], rule.Alert)
			if rule.For != "" {
				_, err := time.ParseDuration(rule.For)
				require.NoError(t, err, rule.Alert)
			}
			used := metric.FindAllString(rule.Expr, -1)
			assert.NotEmpty(t, used, rule.Alert)
			for _, name := range used {
				assert.True(t, names[name], "%s: no code makes the metric %s", rule.Alert, name)
			}
			for _, found := range label.FindAllStringSubmatch(rule.Expr, -1) {
				assert.True(t, labelExists(found[1], found[2]), "%s: %s=%q is no value of ours", rule.Alert, found[1], found[2])
			}
		}
	}
	assert.Len(t, alerts, 12)
}

// labelExists reports whether each alternative of a label's pattern is a value that the code gives.
func labelExists(label, pattern string) bool {
	var values []string
	switch label {
	case "type":
		for _, v := range alert.Types() {
			values = append(values, string(v))
		}
	case "kind":
		for _, v := range alert.Kinds() {
			values = append(values, v.String())
		}
	case "outcome":
		for _, v := range delivery.Outcomes() {
			values = append(values, v.String())
		}
	case "result":
		values = []string{"signed", "again", "refused", "stored", "failed"}
	}
	alternatives := []string{pattern}
	if !strings.Contains(pattern, "(") {
		alternatives = strings.Split(pattern, "|")
	}
	for _, alternative := range alternatives {
		exact, found := regexp.MustCompile("^(?:"+alternative+")$"), false
		for _, v := range values {
			found = found || exact.MatchString(v)
		}
		if !found {
			return false
		}
	}
	return true
}

// What Prometheus scrapes has the names that the rules use, from the first scrape on.
func TestScrape(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		registry := prometheus.NewRegistry()
		reader, err := otelprometheus.New(otelprometheus.WithRegisterer(registry))
		require.NoError(t, err)
		w := newWorld(t)
		d := w.desk(sdkmetric.NewMeterProvider(sdkmetric.WithReader(reader)))
		defer d.stop()
		require.NoError(t, d.See(certificate(alert.Authority, "default", "a", time.Now(), 100*day)))
		pass(time.Second)
		response := httptest.NewRecorder()
		promhttp.HandlerFor(registry, promhttp.HandlerOpts{}).ServeHTTP(response, httptest.NewRequest(http.MethodGet, "/metrics", http.NoBody))
		text := response.Body.String()
		for _, line := range []string{
			`handfast_certificate_expiry_seconds\{kind="authority",name="default",.*\} 8.639999e\+06`,
			`handfast_endpoints_held\{.*outcome="no_identity"\} 0`,
			`handfast_alerts_total\{.*type="handfast.rotation.stalled"\} 0`,
			`handfast_alert_failures_total\{.*\} 0`,
		} {
			assert.Regexp(t, line, text)
		}
	})
}

// The schema's list of what holds an endpoint is that of the code.
func TestSchemaListsTheConditions(t *testing.T) {
	text, err := schemas.Get("alert-endpoint")
	require.NoError(t, err)
	for _, c := range alert.Conditions() {
		assert.Equal(t, c != alert.Healthy, strings.Contains(string(text), `        "`+c.String()+`"`), c.String())
	}
}
