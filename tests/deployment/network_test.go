package deployment

import (
	"maps"
	"net/netip"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

// policy is what a NetworkPolicy has in its spec.
type policy struct {
	Pods    selector   `yaml:"podSelector"`
	Types   []string   `yaml:"policyTypes"`
	Egress  []opening  `yaml:"egress"`
	Ingress []entrance `yaml:"ingress"`
}

type opening struct {
	To    []peer     `yaml:"to"`
	Ports []openPort `yaml:"ports"`
}

type entrance struct {
	From  []peer     `yaml:"from"`
	Ports []openPort `yaml:"ports"`
}

type peer struct {
	Pods      *selector `yaml:"podSelector"`
	Namespace *selector `yaml:"namespaceSelector"`
	Block     struct {
		CIDR   string   `yaml:"cidr"`
		Except []string `yaml:"except"`
	} `yaml:"ipBlock"`
}

type openPort struct {
	Protocol string `yaml:"protocol"`
	Port     string `yaml:"port"`
}

// applies reports whether the policy is about pods with these labels.
func (p policy) applies(labels map[string]string) bool {
	for name, value := range p.Pods.MatchLabels {
		if labels[name] != value {
			return false
		}
	}
	return true
}

// reaches reports whether pods with these labels may open a connection to an address outside the cluster.
func reaches(t *testing.T, labels map[string]string, address, number string) bool {
	t.Helper()
	to := netip.MustParseAddr(address)
	for _, o := range objects(t, "NetworkPolicy") {
		if !o.Spec.applies(labels) {
			continue
		}
		for _, rule := range o.Spec.Egress {
			for _, p := range rule.To {
				if p.Block.CIDR == "" || !netip.MustParsePrefix(p.Block.CIDR).Contains(to) {
					continue
				}
				open := false
				for _, o := range rule.Ports {
					open = open || o.Port == number
				}
				for _, except := range p.Block.Except {
					open = open && !netip.MustParsePrefix(except).Contains(to)
				}
				if open {
					return true
				}
			}
		}
	}
	return false
}

func TestKubernetesNetwork(t *testing.T) {
	for name, o := range workloads(t) {
		labels := o.Spec.Template.Metadata.Labels
		for _, address := range []string{"93.184.215.14", "2606:2800::1"} {
			assert.Equal(t, name == "dispatcher", reaches(t, labels, address, "443"), "%s to a receiver at %s", name, address)
			assert.False(t, reaches(t, labels, address, "22"), "%s to %s", name, address)
		}
		for _, address := range []string{"10.1.2.3", "127.0.0.1", "169.254.169.254", "172.20.0.1", "192.168.1.1", "100.64.1.1", "::1", "fd00::1", "fe80::1"} {
			assert.False(t, reaches(t, labels, address, "443"), "%s to %s", name, address)
		}
	}
}

// TestKubernetesEverybodyIsUnderAPolicy has the policy for all say no to whatever it does not name: to come in, and to go out.
func TestKubernetesEverybodyIsUnderAPolicy(t *testing.T) {
	all := objects(t, "NetworkPolicy")["handfast"].Spec
	assert.Equal(t, []string{"Ingress", "Egress"}, all.Types)
	assert.Equal(t, map[string]string{"app.kubernetes.io/name": "handfast"}, all.Pods.MatchLabels, "and not those of others in the namespace")
	for name, o := range workloads(t) {
		assert.True(t, all.applies(o.Spec.Template.Metadata.Labels), name)
		stranger := maps.Clone(o.Spec.Template.Metadata.Labels)
		stranger["app.kubernetes.io/name"] = "nats"
		assert.False(t, all.applies(stranger), "NATS is not shut in")
	}
	require.Len(t, all.Ingress, 1)
	require.Len(t, all.Ingress[0].From, 1)
	assert.Equal(t, &selector{MatchLabels: map[string]string{"handfast-metrics": "allowed"}}, all.Ingress[0].From[0].Namespace)
	assert.Equal(t, []openPort{{Protocol: "TCP", Port: "http"}}, all.Ingress[0].Ports)
	require.Len(t, all.Egress, 2)
	assert.Equal(t, []openPort{{Protocol: "UDP", Port: "53"}, {Protocol: "TCP", Port: "53"}}, all.Egress[0].Ports)
	assert.Equal(t, []openPort{{Protocol: "TCP", Port: "4222"}}, all.Egress[1].Ports)
	require.Len(t, all.Egress[1].To, 1)
	assert.Equal(t, &selector{MatchLabels: map[string]string{"app.kubernetes.io/name": "nats"}}, all.Egress[1].To[0].Pods)
}
