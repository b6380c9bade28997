package deployment

import (
	"encoding/json"
	"flag"
	"fmt"
	"maps"
	"net/http"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/nats-io/nats-server/v2/server"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

// serve starts the NATS server of compose.yaml with its own command line and returns its URL. Only the addresses, the
// directory and the flush to the disk are the test's.
func serve(t *testing.T, dir string) string {
	t.Helper()
	s := compose(t).Services["nats"]
	require.Len(t, s.EnvFile, 1)
	env, err := os.ReadFile(filepath.Join(dir, s.EnvFile[0]))
	require.NoError(t, err)
	for line := range strings.Lines(string(env)) {
		name, value, _ := strings.Cut(strings.TrimSpace(line), "=")
		t.Setenv(name, value)
	}
	arguments := slices.Clone(s.Command)
	for _, volume := range s.Volumes {
		if source, rest, _ := strings.Cut(volume, ":"); strings.HasPrefix(source, ".") {
			inside := strings.TrimSuffix(rest, ":ro")
			at := slices.Index(arguments, inside)
			require.NotEqual(t, -1, at, "%s is mounted and not used", inside)
			arguments[at] = filepath.Join(deploy+"compose", source)
		}
	}
	nothing := func() {}
	options, err := server.ConfigureOptions(flag.NewFlagSet("nats-server", flag.ContinueOnError), arguments, nothing, nothing, nothing)
	require.NoError(t, err)
	assert.Equal(t, "0.0.0.0", options.Host, "other containers reach it")
	assert.Equal(t, 4222, options.Port)
	assert.Equal(t, 8222, options.HTTPPort)
	assert.Contains(t, s.Volumes, "nats:"+filepath.Dir(filepath.Join(s.WorkingDir, options.StoreDir)), "what it stores outlives the container")
	assert.True(t, options.SyncAlways)
	options.Host, options.Port, options.HTTPHost, options.HTTPPort = "127.0.0.1", server.RANDOM_PORT, "127.0.0.1", server.RANDOM_PORT
	options.StoreDir, options.SyncAlways, options.NoLog, options.NoSigs = t.TempDir(), false, true, true
	running, err := server.NewServer(options)
	require.NoError(t, err)
	running.Start()
	t.Cleanup(func() { running.Shutdown(); running.WaitForShutdown() })
	require.True(t, running.ReadyForConnections(20*time.Second))
	response, err := (&http.Client{Transport: &http.Transport{DisableKeepAlives: true}}).Get("http://" + running.MonitorAddr().String() + "/healthz")
	require.NoError(t, err, "the health check of compose.yaml asks there")
	defer response.Body.Close()
	assert.Equal(t, http.StatusOK, response.StatusCode)
	return running.ClientURL()
}

func TestNATSIsNewEnough(t *testing.T) {
	module, err := os.ReadFile("../../go.mod")
	require.NoError(t, err)
	version := regexp.MustCompile(`github\.com/nats-io/nats-server/v2 v(\S+)`).FindSubmatch(module)
	require.NotNil(t, version)
	assert.Equal(t, "nats:"+string(version[1])+"-alpine", compose(t).Services["nats"].Image, "the version that our tests run on")
	assert.Equal(t, string(version[1])+"-alpine", values(t).Container.Image.Tag)
}

// chart is deploy/kubernetes/nats-values.yaml, as far as it decides what the server's configuration is.
type chart struct {
	Config struct {
		Cluster struct {
			Replicas int `yaml:"replicas"`
		} `yaml:"cluster"`
		JetStream struct {
			Merge map[string]any `yaml:"merge"`
		} `yaml:"jetstream"`
		Merge map[string]string `yaml:"merge"`
	} `yaml:"config"`
	Container struct {
		Image struct{ Tag string } `yaml:"image"`
		Env   map[string]struct {
			From struct {
				Secret key `yaml:"secretKeyRef"`
			} `yaml:"valueFrom"`
		} `yaml:"env"`
		Patch []struct {
			Value struct {
				Path string `yaml:"mountPath"`
			}
		} `yaml:"patch"`
	} `yaml:"container"`
}

func values(t *testing.T) chart {
	t.Helper()
	return parse[chart](t, "kubernetes/nats-values.yaml")[0]
}

// TestNATSOnKubernetes puts the configuration together in the chart's way: the keys in their order, $include first, in a
// folder beside the one that the values mount.
func TestNATSOnKubernetes(t *testing.T) {
	v, root := values(t), t.TempDir()
	jetStream := map[string]any{"store_dir": "/data"}
	maps.Copy(jetStream, v.Config.JetStream.Merge)
	settings := map[string]any{"server_name": "nats-0", "port": 4222, "http_port": 8222, "jetstream": jetStream}
	var text strings.Builder
	text.WriteString("{\n")
	for name, value := range v.Config.Merge {
		if name == "$include" {
			fmt.Fprintf(&text, "include %s;\n", value)
			continue
		}
		settings[name] = value
	}
	for _, name := range slices.Sorted(maps.Keys(settings)) {
		value, err := json.Marshal(settings[name])
		require.NoError(t, err)
		fmt.Fprintf(&text, "%q: %s,\n", name, value)
	}
	text.WriteString("}\n")
	mounted := ""
	for _, patch := range v.Container.Patch {
		mounted = patch.Value.Path
	}
	for name, content := range map[string]string{"/etc/nats-config/nats.conf": text.String(), mounted + "/handfast.conf": file(t, "nats/handfast.conf")} {
		require.NoError(t, os.MkdirAll(filepath.Dir(root+name), 0o700))
		require.NoError(t, os.WriteFile(root+name, []byte(content), 0o600))
	}
	for name, env := range v.Container.Env {
		assert.Equal(t, "handfast-nats", env.From.Secret.Name)
		t.Setenv(name, "$2a$11$"+strings.Repeat(strings.ToUpper(env.From.Secret.Key)[:1], 53)) // the form of a hash
	}
	options, err := server.ProcessConfigFile(root + "/etc/nats-config/nats.conf")
	require.NoError(t, err, "%s", text.String())
	assert.Equal(t, "0.0.0.0", options.Host)
	assert.Equal(t, 4222, options.Port)
	assert.Equal(t, "nats-0", options.ServerName, "each server has its own name")
	assert.Equal(t, "/data", options.StoreDir)
	assert.True(t, options.SyncAlways)
	users := map[string]string{}
	for _, user := range options.Users {
		users[user.Username] = user.Password
		assert.Equal(t, "$2a$11$"+strings.Repeat(strings.ToUpper(user.Username)[:1], 53), user.Password, "each user has a password of its own")
	}
	assert.ElementsMatch(t, []string{"operator", "signer", "dispatcher", "producer"}, slices.Collect(maps.Keys(users)))
	topology := workloads(t)["topology"].Spec.Template.Spec.Containers[0].Args
	assert.Contains(t, strings.Join(topology, " "), fmt.Sprintf("--replicas %d", v.Config.Cluster.Replicas))
}
