package deployment

import (
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

// composition is deploy/compose/compose.yaml, as far as ours needs it.
type composition struct {
	Services map[string]service      `yaml:"services"`
	Networks map[string]network      `yaml:"networks"`
	Secrets  map[string]secretSource `yaml:"secrets"`
}

type network struct {
	Internal bool `yaml:"internal"`
}

type secretSource struct {
	File string `yaml:"file"`
}

type service struct {
	Image       string            `yaml:"image"`
	User        string            `yaml:"user"`
	ReadOnly    bool              `yaml:"read_only"`
	CapDrop     []string          `yaml:"cap_drop"`
	Command     []string          `yaml:"command"`
	Environment map[string]string `yaml:"environment"`
	EnvFile     []string          `yaml:"env_file"`
	Secrets     []string          `yaml:"secrets"`
	Volumes     []string          `yaml:"volumes"`
	Networks    []string          `yaml:"networks"`
	Ports       []string          `yaml:"ports"`
	WorkingDir  string            `yaml:"working_dir"`
	Grace       time.Duration     `yaml:"stop_grace_period"`
}

func compose(t *testing.T) composition {
	t.Helper()
	return parse[composition](t, "compose/compose.yaml")[0]
}

// container is one service of ours, with secrets from a folder.
func (c composition) container(t *testing.T, dir, name string) container {
	t.Helper()
	s, ok := c.Services[name]
	require.True(t, ok, name)
	made := container{
		name: "compose/" + name, arguments: s.Command, environment: s.Environment, mounts: map[string]mount{}, grace: s.Grace,
		port: scraped(t)[name],
	}
	for _, secret := range s.Secrets {
		require.Contains(t, c.Secrets, secret, name)
		path := filepath.Join(dir, c.Secrets[secret].File)
		content, err := os.ReadFile(path)
		require.NoError(t, err)
		info, err := os.Stat(path)
		require.NoError(t, err)
		made.mounts["/run/secrets/"+secret] = mount{content: content, mode: info.Mode().Perm()} // Compose mounts the file itself
	}
	return made
}

// scraped are the ports that Prometheus asks, by the name of the service.
func scraped(t *testing.T) map[string]string {
	t.Helper()
	type scrape struct {
		Path string `yaml:"metrics_path"`
		DNS  []struct {
			Names []string `yaml:"names"`
			Port  string   `yaml:"port"`
		} `yaml:"dns_sd_configs"`
	}
	config := parse[struct {
		Rules  []string `yaml:"rule_files"`
		Scrape []scrape `yaml:"scrape_configs"`
	}](t, "compose/prometheus.yaml")[0]
	ports := map[string]string{}
	for _, s := range config.Scrape {
		assert.Empty(t, s.Path, "the default is where the metrics are")
		for _, dns := range s.DNS {
			for _, name := range dns.Names {
				ports[name] = dns.Port
			}
		}
	}
	for _, rules := range config.Rules {
		assert.Contains(t, compose(t).Services["prometheus"].Volumes, "../alerts/handfast.yaml:"+rules+":ro")
	}
	return ports
}

// shell are the commands of a page's blocks of shell, one text a block.
func shell(t *testing.T, page string) []string {
	t.Helper()
	var blocks []string
	for _, found := range regexp.MustCompile("(?s)\n```sh\n(.*?)```\n").FindAllStringSubmatch(file(t, page), -1) {
		blocks = append(blocks, found[1])
	}
	require.NotEmpty(t, blocks, page)
	return blocks
}

// makeSecrets runs the first commands of the page in an empty folder.
func makeSecrets(t *testing.T) string {
	t.Helper()
	if _, err := exec.LookPath("openssl"); err != nil {
		t.Skip("openssl is not here, and the commands of deploy/compose/README.md need it")
	}
	dir := t.TempDir()
	command := exec.CommandContext(t.Context(), "sh", "-eu", "-c", shell(t, "compose/README.md")[0])
	command.Dir = dir
	out, err := command.CombinedOutput()
	require.NoError(t, err, string(out))
	return dir
}

func TestComposeSecretsAreMadeByThePage(t *testing.T) {
	dir, all := makeSecrets(t), compose(t)
	files := []string{".env"}
	for _, source := range all.Secrets {
		files = append(files, source.File)
	}
	files = append(files, all.Services["nats"].EnvFile...)
	for _, name := range files {
		info, err := os.Stat(filepath.Join(dir, name))
		if assert.NoError(t, err) {
			assert.Equal(t, os.FileMode(0o600), info.Mode().Perm(), name)
		}
	}
	env, err := os.ReadFile(filepath.Join(dir, ".env"))
	require.NoError(t, err)
	assert.Regexp(t, `^HANDFAST_USER=\d+:\d+\n$`, string(env))
	assert.Contains(t, all.Services["signer"].User, "HANDFAST_USER")
	ignored := strings.Fields(file(t, "compose/.gitignore"))
	assert.Equal(t, []string{"/secrets/", "/.env"}, ignored)
	assert.Contains(t, strings.Fields(file(t, "image/Dockerfile.dockerignore")), "deploy/compose/secrets")
}

func TestComposeGivesEachServiceItsOwnSecrets(t *testing.T) {
	all := compose(t)
	for name, want := range map[string][]string{
		"topology": {"operator.password"}, "signer": {"signer.password", "master.key"}, "dispatcher": {"dispatcher.password", "identity.key"},
		"operator": {"operator.password", "master.key", "identity.key"}, "prometheus": nil, "grafana": nil, "jaeger": nil, "nats": nil,
	} {
		assert.Equal(t, want, all.Services[name].Secrets, name)
	}
	assert.Len(t, all.Services, 8, "a new service has secrets, or says that it has none, above")
}

func TestComposeServicesMayLittle(t *testing.T) {
	all := compose(t)
	for name, s := range all.Services {
		assert.NotRegexp(t, `:latest$|^[^:]+$`, strings.Replace(s.Image, "handfast", "handfast:built", 1), "%s has no fixed version", name)
		for _, port := range s.Ports {
			assert.True(t, strings.HasPrefix(port, "127.0.0.1:"), "%s opens %s to the network", name, port)
		}
		if s.Image == "handfast" {
			assert.True(t, s.ReadOnly, name)
			assert.Equal(t, []string{"ALL"}, s.CapDrop, name)
			assert.Empty(t, s.Ports, "%s: its port has no authentication, and `--scale` needs it unpublished", name)
			assert.Empty(t, s.Volumes, name)
		}
	}
	for _, name := range []string{"signer", "topology"} {
		for _, reached := range all.Services[name].Networks {
			assert.True(t, all.Networks[reached].Internal, "%s reaches the internet by %s", name, reached)
		}
	}
	for _, name := range []string{"signer", "dispatcher", "prometheus", "jaeger", "nats", "topology", "operator"} {
		assert.True(t, slices.Contains(all.Services[name].Networks, "broker"), name)
	}
}

// TestComposeFilesExist looks for everything that is mounted from this repository.
func TestComposeFilesExist(t *testing.T) {
	for name, s := range compose(t).Services {
		for _, volume := range s.Volumes {
			if source, _, _ := strings.Cut(volume, ":"); strings.HasPrefix(source, ".") {
				_, err := os.Stat(filepath.Join(deploy+"compose", source))
				assert.NoError(t, err, name)
			}
		}
	}
	dashboards := parse[struct {
		Providers []struct {
			Options struct {
				Path string `yaml:"path"`
			} `yaml:"options"`
		} `yaml:"providers"`
	}](t, "compose/grafana/dashboards.yaml")[0]
	grafana := compose(t).Services["grafana"]
	assert.Contains(t, grafana.Volumes, "../dashboards:"+dashboards.Providers[0].Options.Path+":ro")
	assert.Equal(t, dashboards.Providers[0].Options.Path+"/handfast.json", grafana.Environment["GF_DASHBOARDS_DEFAULT_HOME_DASHBOARD_PATH"])
}
