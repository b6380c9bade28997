package signature

import (
	"bytes"
	"crypto/rand"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/dunglas/httpsfv"
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

// FuzzParseDictionary holds the parser against that of others: what it accepts, theirs accepts as well, with the same names
// and the same signatures.
func FuzzParseDictionary(f *testing.F) {
	for _, seed := range []string{
		"", "a", "a=1, b=:AQI=:;x", `sig=("@method" "date");created=1;keyid="k";tag="webhook"`, `a=("x";req "y" 1 tok);d=2.5`, "a=(", "a=1,", "*a=?1", "a=@-5", `a="\\\""`, "a=%\"x\"",
	} {
		f.Add(seed)
	}
	f.Fuzz(func(t *testing.T, text string) {
		ours, err := parseDictionary(text, 8)
		if err != nil {
			return
		}
		theirs, err := httpsfv.UnmarshalDictionary([]string{text})
		if err != nil {
			t.Fatalf("%q was accepted, but is not a dictionary: %v", text, err)
		}
		if len(theirs.Names()) != len(ours) {
			t.Fatalf("%q: %v", text, theirs.Names())
		}
		for i, name := range theirs.Names() {
			if ours[i].name != name {
				t.Fatalf("%q: %s is not %s", text, ours[i].name, name)
			}
			value, _ := theirs.Get(name)
			if item, ok := value.(httpsfv.Item); ok {
				raw, _ := item.Value.([]byte)
				if !bytes.Equal(raw, ours[i].bytes) {
					t.Fatalf("%q: %x is not %x", text, ours[i].bytes, raw)
				}
			}
			if list, ok := value.(httpsfv.InnerList); ok && len(list.Items) != len(ours[i].list) {
				t.Fatalf("%q: %d items", text, len(list.Items))
			}
		}
	})
}

// FuzzVerifyProviders gives every scheme's receiver anything in its headers; nothing but what was signed may pass.
func FuzzVerifyProviders(f *testing.F) {
	template := Template{Header: "x-acme", Content: "{id}.{timestamp}.{body}", Prefix: "v1=", Separator: ","}
	now := time.Unix(1614265330, 0)
	const body = `{"a":1}`
	request := Request{ID: "msg_1", Time: now, Method: "POST", URL: "https://example.com/in", Body: []byte(body)}
	verifiers := map[string][]Verifier{}
	for _, scheme := range []string{DocuSign, PagerDuty, GitHub, Stripe, Slack, Shopify, Twilio, TemplateScheme} {
		key, err := ParseSecret(scheme, "whsec_a fixed secret")
		if err != nil {
			f.Fatal(err)
		}
		key.ID, key.State = "k", Active
		verifier, _ := key.Verifier()
		verifiers[scheme] = []Verifier{verifier}
		ring, _ := NewRing(key)
		sent := request
		query, _ := Query(sent, []string{scheme})
		sent.URL = Extend(sent.URL, query)
		fields, _, err := Signer{Template: template}.Sign(sent, []string{scheme}, ring)
		if err != nil {
			f.Fatal(err)
		}
		f.Add(scheme, fields[len(fields)-1].Value, "msg_1", "1614265330", strings.TrimPrefix(sent.URL, "https://example.com"), body)
		f.Add(scheme, fields[0].Value, "msg_1", "1614265330", "/in?bodySHA256=", body)
		f.Add(scheme, strings.Repeat("v1=00,", 70), "", "0", "/", "")
	}
	f.Fuzz(func(t *testing.T, scheme, value, id, stamp, target, gotBody string) {
		h := headerMap{
			"x-docusign-signature-1": value, "x-pagerduty-signature": value, "x-hub-signature-256": value, "stripe-signature": value, "x-slack-signature": value,
			"x-slack-request-timestamp": stamp, "x-shopify-hmac-sha256": value, "x-twilio-signature": value, "x-acme": value, "webhook-id": id, "webhook-timestamp": stamp,
		}
		got, err := Verify(scheme, Received{Method: "POST", Authority: "example.com", Target: target, Header: h, Body: []byte(gotBody), Template: template}, verifiers[scheme], now, 0)
		if err != nil {
			if got != (Verified{}) {
				t.Fatalf("refused and verified at once: %+v", got)
			}
			return
		}
		if gotBody != body || (scheme == TemplateScheme && (id != "msg_1" || stamp != "1614265330")) || (scheme == Slack && stamp != "1614265330") {
			t.Fatalf("forged: %s %q %q %q %q", scheme, value, id, stamp, gotBody)
		}
	})
}

// FuzzTemplate has two messages in mind for every template that is valid: they are never the same bytes.
func FuzzTemplate(f *testing.F) {
	f.Add("{id}.{timestamp}.{body}", "a", "1", "b", "c", "2", "d")
	f.Add("{id}:{body}", "a", "", "b:c", "a", "", "b")
	f.Add("{body}|{id}", "a", "", "x|a", "a", "", "x")
	f.Add("v0:{timestamp}:{body}", "", "1", "x", "", "11", "x")
	f.Fuzz(func(t *testing.T, content, id, stamp, body, otherID, otherStamp, otherBody string) {
		template := Template{Header: "X-Acme", Content: content}
		if template.Validate() != nil || checkTemplateID(id) != nil || checkTemplateID(otherID) != nil {
			return
		}
		for _, s := range []string{stamp, otherStamp} {
			if _, err := parseStamp("t", s); err != nil {
				return
			}
		}
		if !template.SignsID() {
			otherID = id
		}
		if !template.SignsTime() {
			otherStamp = stamp
		}
		before, after := template.around(id, stamp)
		otherBefore, otherAfter := template.around(otherID, otherStamp)
		one := string(before) + body + string(after)
		other := string(otherBefore) + otherBody + string(otherAfter)
		if (id != otherID || stamp != otherStamp || body != otherBody) && one == other {
			t.Fatalf("%q: two messages are signed alike: %q", content, one)
		}
	})
}
