package deployment

import (
	"maps"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"go.yaml.in/yaml/v3"
)

// object is one of Kubernetes, as far as ours needs it.
type object struct {
	Kind     string `yaml:"kind"`
	Metadata struct {
		Name      string            `yaml:"name"`
		Namespace string            `yaml:"namespace"`
		Labels    map[string]string `yaml:"labels"`
	} `yaml:"metadata"`
	Spec struct {
		policy `yaml:",inline"`

		Selector selector `yaml:"selector"`
		Template struct {
			Metadata struct {
				Labels      map[string]string `yaml:"labels"`
				Annotations map[string]string `yaml:"annotations"`
			} `yaml:"metadata"`
			Spec pod `yaml:"spec"`
		} `yaml:"template"`
	} `yaml:"spec"`
}

type selector struct {
	MatchLabels map[string]string `yaml:"matchLabels"`
}

type pod struct {
	Grace        int            `yaml:"terminationGracePeriodSeconds"`
	Token        *bool          `yaml:"automountServiceAccountToken"`
	ServiceLinks *bool          `yaml:"enableServiceLinks"`
	Security     map[string]any `yaml:"securityContext"`
	Containers   []struct {
		Args           []string       `yaml:"args"`
		Image          string         `yaml:"image"`
		Env            []variable     `yaml:"env"`
		EnvFrom        []any          `yaml:"envFrom"`
		Ports          []port         `yaml:"ports"`
		LivenessProbe  probe          `yaml:"livenessProbe"`
		ReadinessProbe probe          `yaml:"readinessProbe"`
		Security       map[string]any `yaml:"securityContext"`
		Mounts         []struct {
			Name string `yaml:"name"`
			Path string `yaml:"mountPath"`
		} `yaml:"volumeMounts"`
		Resources struct {
			Requests map[string]string `yaml:"requests"`
			Limits   map[string]string `yaml:"limits"`
		} `yaml:"resources"`
	} `yaml:"containers"`
	Volumes []struct {
		Name   string       `yaml:"name"`
		Secret secretVolume `yaml:"secret"`
	} `yaml:"volumes"`
}

type secretVolume struct {
	Name  string      `yaml:"secretName"`
	Mode  os.FileMode `yaml:"defaultMode"`
	Items []struct {
		Key  string `yaml:"key"`
		Path string `yaml:"path"`
	} `yaml:"items"`
}

type variable struct {
	Name, Value string
	From        struct {
		Secret key `yaml:"secretKeyRef"`
		Config key `yaml:"configMapKeyRef"`
	} `yaml:"valueFrom"`
}

type key struct{ Name, Key string }

type port struct {
	Name   string `yaml:"name"`
	Number string `yaml:"containerPort"`
}

type probe struct {
	Get struct{ Path, Port string } `yaml:"httpGet"`
}

// customisation is deploy/kubernetes/kustomization.yaml.
type customisation struct {
	Namespace string   `yaml:"namespace"`
	Resources []string `yaml:"resources"`
	Generated []struct {
		Name     string   `yaml:"name"`
		Literals []string `yaml:"literals"`
	} `yaml:"configMapGenerator"`
}

func kustomization(t *testing.T) customisation {
	t.Helper()
	return parse[customisation](t, "kubernetes/kustomization.yaml")[0]
}

// objects are those of one kind, by the component that they are of, or by their names.
func objects(t *testing.T, kind string) map[string]object {
	t.Helper()
	found := map[string]object{}
	for _, name := range kustomization(t).Resources {
		for _, o := range parse[object](t, "kubernetes/"+name) {
			assert.Empty(t, o.Metadata.Namespace, "%s: whoever applies it names the namespace", o.Metadata.Name)
			if o.Kind == kind {
				found[strings.TrimPrefix(o.Metadata.Name, "handfast-")] = o
			}
		}
	}
	return found
}

func workloads(t *testing.T) map[string]object {
	t.Helper()
	all := objects(t, "Deployment")
	maps.Copy(all, objects(t, "Job"))
	require.Len(t, all, 3)
	return all
}

// configuration is what the ConfigMap gives to whoever asks for all of it.
func configuration(t *testing.T) map[string]string {
	t.Helper()
	settings := map[string]string{}
	generated := kustomization(t).Generated
	require.Len(t, generated, 1)
	require.Equal(t, "handfast", generated[0].Name)
	for _, literal := range generated[0].Literals {
		name, value, _ := strings.Cut(literal, "=")
		settings[name] = value
	}
	return settings
}

func TestKubernetesPodsMayLittle(t *testing.T) {
	for name, o := range workloads(t) {
		spec := o.Spec.Template.Spec
		assert.Equal(t, map[string]any{
			"runAsNonRoot": true, "runAsUser": 65532, "runAsGroup": 65532, "fsGroup": 65532, "seccompProfile": map[string]any{"type": "RuntimeDefault"},
		}, spec.Security, name)
		assert.Equal(t, map[string]any{
			"allowPrivilegeEscalation": false, "readOnlyRootFilesystem": true, "capabilities": map[string]any{"drop": []any{"ALL"}},
		}, spec.Containers[0].Security, name)
		for _, off := range []*bool{spec.Token, spec.ServiceLinks} {
			if assert.NotNil(t, off, name) {
				assert.False(t, *off, name)
			}
		}
		for _, volume := range spec.Volumes {
			assert.Equal(t, os.FileMode(0o440), volume.Secret.Mode, "%s: %s is readable by the group, which is the pod's, and by nobody else", name, volume.Name)
		}
		resources := spec.Containers[0].Resources
		assert.NotEmpty(t, resources.Requests["cpu"], name)
		assert.NotEmpty(t, resources.Requests["memory"], name)
		assert.NotEmpty(t, resources.Limits["memory"], name)
		assert.Equal(t, name, o.Spec.Template.Metadata.Labels["app.kubernetes.io/component"])
		assert.Equal(t, "handfast", o.Spec.Template.Metadata.Labels["app.kubernetes.io/name"])
		assert.Equal(t, "handfast", spec.Containers[0].Image, "the name that kustomization.yaml replaces")
	}
}

func TestKubernetesServicesAreWatched(t *testing.T) {
	budgets := objects(t, "PodDisruptionBudget")
	for name, o := range objects(t, "Deployment") {
		spec := o.Spec.Template.Spec.Containers[0]
		require.Len(t, spec.Ports, 1, name)
		assert.Equal(t, "/healthz", spec.LivenessProbe.Get.Path, name)
		assert.Equal(t, "/readyz", spec.ReadinessProbe.Get.Path, name)
		assert.Equal(t, spec.Ports[0].Name, spec.LivenessProbe.Get.Port, name)
		assert.Equal(t, spec.Ports[0].Name, spec.ReadinessProbe.Get.Port, name)
		assert.Equal(t, spec.Ports[0].Number, o.Spec.Template.Metadata.Annotations["prometheus.io/port"], name)
		assert.Equal(t, scraped(t)[name], spec.Ports[0].Number, "%s: one port, wherever it runs", name)
		assert.Equal(t, o.Spec.Selector, budgets[name].Spec.Selector, name)
		assert.Equal(t, o.Spec.Selector.MatchLabels, o.Spec.Template.Metadata.Labels, name)
	}
	assert.Len(t, budgets, 2)
}

// TestKubernetesSecretsAreApart is who may hold what: nobody has anything that another one has.
func TestKubernetesSecretsAreApart(t *testing.T) {
	for name, want := range map[string][]string{
		"signer":     {"handfast-signer/master-key", "handfast-signer/nats-password"},
		"dispatcher": {"handfast-dispatcher/nats-password", "handfast-identity/*"},
		"topology":   {"handfast-operator/nats-password"},
	} {
		spec := workloads(t)[name].Spec.Template.Spec
		var got []string
		for _, v := range spec.Containers[0].Env {
			if v.From.Secret.Name != "" {
				got = append(got, v.From.Secret.Name+"/"+v.From.Secret.Key)
			}
		}
		for _, volume := range spec.Volumes {
			for _, item := range volume.Secret.Items {
				got = append(got, volume.Secret.Name+"/"+item.Key)
			}
			if len(volume.Secret.Items) == 0 {
				got = append(got, volume.Secret.Name+"/*")
			}
		}
		assert.ElementsMatch(t, want, got, name)
		assert.NotContains(t, file(t, "kubernetes/"+name+".yaml"), "envFrom:\n            - secretRef", name)
	}
	page := strings.Join(shell(t, "kubernetes/README.md"), "")
	for _, secret := range []string{"handfast-signer", "handfast-dispatcher", "handfast-identity", "handfast-operator", "handfast-nats"} {
		assert.Regexp(t, `kubectl create secret (generic|tls) `+secret+` `, page)
	}
}

func TestKustomizeBuilds(t *testing.T) {
	kubectl, err := exec.LookPath("kubectl")
	if err != nil {
		t.Skip("kubectl is not here")
	}
	command := exec.CommandContext(t.Context(), kubectl, "kustomize", filepath.Join(deploy, "kubernetes"))
	command.Env = append(os.Environ(), "KUBECONFIG=/dev/null")
	out, err := command.Output()
	require.NoError(t, err)
	decoder := yaml.NewDecoder(strings.NewReader(string(out)))
	kinds := map[string]int{}
	for {
		var o object
		if decoder.Decode(&o) != nil {
			break
		}
		kinds[o.Kind]++
		for _, c := range o.Spec.Template.Spec.Containers {
			assert.NotEqual(t, "handfast", c.Image, "%s: the image is named by kustomization.yaml", o.Metadata.Name)
		}
	}
	assert.Equal(t, map[string]int{"ConfigMap": 1, "Deployment": 2, "Job": 1, "NetworkPolicy": 2, "PodDisruptionBudget": 2}, kinds)
}
