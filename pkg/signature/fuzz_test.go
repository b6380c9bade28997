package signature

import (
	"crypto/rand"
	"strconv"
	"strings"
	"testing"
	"time"
)

func FuzzParseSecret(f *testing.F) {
	for _, seed := range []string{
		"", "whsec_", "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw", "whsk_6Xb/dCcHpPea21PS1N9VY/NZW723CEc77N4rJCubMbc=",
		"whsk_6Xb/dCcHpPea21PS1N9VY/NZW723CEc77N4rJCubMbfVKIDij2HKpMKkioLlX0dRqSKJp4AJ6p9lMicMFs6Kvg==", "whsec_-_==", "whpk_\n",
	} {
		for _, scheme := range Schemes() {
			f.Add(scheme, seed)
		}
	}
	f.Fuzz(func(t *testing.T, scheme, secret string) {
		key, err := ParseSecret(scheme, secret)
		if err != nil {
			if len(secret) > 16 && strings.Contains(err.Error(), secret) {
				t.Fatalf("the error repeats the secret: %v", err)
			}
			return
		}
		again, err := ParseSecret(scheme, key.Reveal())
		if err != nil || again.Reveal() != key.Reveal() {
			t.Fatalf("%q was read, but what it reveals was not: %v", secret, err)
		}
		if scheme == V1 && key.Reveal() != secret {
			t.Fatalf("two texts for one secret: %q", secret)
		}
	})
}

// FuzzVerify knows what was signed, so it can tell a forgery.
func FuzzVerify(f *testing.F) {
	key, err := ParseSecret(V1, "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw")
	if err != nil {
		f.Fatal(err)
	}
	pair, err := GenerateKey(V1a, time.Time{}, rand.Reader)
	if err != nil {
		f.Fatal(err)
	}
	verifiers := []Verifier{{scheme: V1, keyID: "a", match: key.material.match}, {scheme: V1a, keyID: "b", match: pair.material.match}}
	const id, unix, body = "msg_p5jXN8AQM9LWM0D4loKWxJek", "1614265330", `{"test": 2432232314}`
	const good = "v1,g0hM9SsE+OTPJTGt/tmIKtSyZlE3uFJELVlNIOLJ1OE="
	f.Add(id, unix, good, body)
	f.Add(id, unix, "v1 v1, v1a,AAAA  "+good, body)
	f.Add("a.b", "0", strings.Repeat("v1a,AA== ", 70), "")
	f.Add("", "-1", "v2,,,", "x")
	f.Fuzz(func(t *testing.T, gotID, stamp, list, gotBody string) {
		h := headerMap{HeaderID: gotID, HeaderTimestamp: stamp, HeaderSignature: list}
		now := time.Unix(1614265330, 0)
		got, err := VerifyStandard(h, []byte(gotBody), verifiers, now, 0)
		if err != nil {
			if got != (Verified{}) {
				t.Fatalf("refused and verified at once: %+v", got)
			}
			return
		}
		if gotID != id || stamp != unix || gotBody != body || !strings.Contains(list, good) {
			t.Fatalf("forged: %q %q %q %q", gotID, stamp, list, gotBody)
		}
		if strconv.FormatInt(got.Time.Unix(), 10) != stamp {
			t.Fatalf("time %v for %q", got.Time, stamp)
		}
	})
}

type headerMap map[string]string

func (h headerMap) Get(name string) string { return h[name] }

func FuzzOpen(f *testing.F) {
	master, err := ParseMasterKey(strings.Repeat("0123456789abcdef", 4))
	if err != nil {
		f.Fatal(err)
	}
	// A fixed key: every fuzzing process makes its own.
	key, err := ParseSecret(V1, "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw")
	if err != nil {
		f.Fatal(err)
	}
	ring, err := NewRing(key)
	if err != nil {
		f.Fatal(err)
	}
	sealed, err := ring.Seal(master, "acme.orders")
	if err != nil {
		f.Fatal(err)
	}
	f.Add("acme.orders", sealed)
	f.Add("acme.other", sealed)
	f.Add("", []byte(`{"v":1,"kid":"","nonce":"","ciphertext":""}`))
	f.Add("x", []byte(`{"v":1}{}`))
	f.Fuzz(func(t *testing.T, context string, data []byte) {
		opened, err := Open(master, context, data)
		if err == nil && (context != "acme.orders" || opened.keys[0].Reveal() != key.Reveal()) {
			t.Fatalf("opened for %q: %s", context, data)
		}
	})
}
