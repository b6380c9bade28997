package deployment

import (
	"maps"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

// container is the one of a workload, with secrets by "name/key".
func (o object) container(t *testing.T, secrets map[string]string) container {
	t.Helper()
	spec := o.Spec.Template.Spec
	require.Len(t, spec.Containers, 1)
	c := spec.Containers[0]
	made := container{
		name: "kubernetes/" + o.Metadata.Name, arguments: c.Args, environment: map[string]string{}, mounts: map[string]mount{},
		grace: time.Duration(spec.Grace) * time.Second,
	}
	if len(c.EnvFrom) > 0 {
		maps.Copy(made.environment, configuration(t))
	}
	for _, v := range c.Env {
		switch {
		case v.From.Secret.Name != "":
			v.Value = secrets[v.From.Secret.Name+"/"+v.From.Secret.Key]
			require.NotEmpty(t, v.Value, v.Name)
		case v.From.Config.Name != "":
			v.Value = configuration(t)[v.From.Config.Key]
		}
		made.environment[v.Name] = v.Value
	}
	for _, shown := range c.Ports {
		made.port = shown.Number
	}
	for _, m := range c.Mounts {
		at := slices.IndexFunc(spec.Volumes, func(v struct {
			Name   string       `yaml:"name"`
			Secret secretVolume `yaml:"secret"`
		},
		) bool {
			return v.Name == m.Name
		})
		require.NotEqual(t, -1, at, m.Name)
		for path, content := range spec.Volumes[at].Secret.files(t, secrets) {
			made.mounts[m.Path+"/"+path] = mount{content: []byte(content), mode: spec.Volumes[at].Secret.Mode}
		}
	}
	return made
}

// files are those that Kubernetes makes of a secret.
func (v secretVolume) files(t *testing.T, secrets map[string]string) map[string]string {
	t.Helper()
	made := map[string]string{}
	for _, item := range v.Items {
		require.Contains(t, secrets, v.Name+"/"+item.Key)
		made[item.Path] = secrets[v.Name+"/"+item.Key]
	}
	for name, content := range secrets {
		if at, found := strings.CutPrefix(name, v.Name+"/"); found && len(v.Items) == 0 {
			made[at] = content
		}
	}
	require.NotEmpty(t, made, v.Name)
	return made
}
