package conformance

import (
	"crypto/hmac"
	"crypto/sha256"
	"encoding/base64"
	"net/http"
	"runtime"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/handfast/handfast/pkg/receiver"
	"github.com/handfast/handfast/pkg/signature"
)

const attackBody = `{"order":1}`

// TestReplays sends a captured delivery again. Nothing of what it came with makes it new.
func TestReplays(t *testing.T) {
	only := func(version string) func(letter) letter {
		return func(l letter) letter {
			for entry := range strings.FieldsSeq(l.value("webhook-signature")) {
				if strings.HasPrefix(entry, version+",") {
					return l.with("webhook-signature", "webhook-signature: "+entry)
				}
			}
			return l
		}
	}
	same := func(l letter) letter { return l }
	for _, c := range []struct {
		name   string
		after  time.Duration
		client string
		change func(letter) letter
		status int
	}{
		{"at once", 0, friend, same, receiver.StatusReplay},
		{"+1 s", time.Second, friend, same, receiver.StatusReplay},
		{"+4 min", 4 * time.Minute, friend, same, receiver.StatusReplay},
		{"+6 min", 6 * time.Minute, friend, same, http.StatusUnauthorized},
		{"the clock went back", -30 * time.Second, friend, same, receiver.StatusReplay},
		{"from another allowed client", time.Second, another, same, receiver.StatusReplay},
		{"from a client that is not allowed", time.Second, enemy, same, receiver.StatusClient},
		{"from nobody", time.Second, "", same, receiver.StatusClient},
		{"to another path", time.Second, friend, func(l letter) letter { l.target = "/admin/delete?all=1"; return l }, receiver.StatusReplay},
		{"by GET", time.Second, friend, func(l letter) letter { l.method = http.MethodGet; return l }, http.StatusMethodNotAllowed},
		{"by PUT", time.Second, friend, func(l letter) letter { l.method = http.MethodPut; return l }, http.StatusMethodNotAllowed},
		{"with v1 alone", time.Second, friend, only("v1"), receiver.StatusReplay},
		{"with v1a alone", time.Second, friend, only("v1a"), receiver.StatusReplay},
		{"in chunks", time.Second, friend, chunked, receiver.StatusReplay},
		{"with another body", time.Second, friend, func(l letter) letter { l.body = `{"order":2}`; return l }, http.StatusUnauthorized},
		{"with another id", time.Second, friend, func(l letter) letter { return l.with("webhook-id", "webhook-id: msg_2") }, http.StatusUnauthorized},
		{"with a later timestamp", time.Second, friend, func(l letter) letter {
			return l.with("webhook-timestamp", "webhook-timestamp: "+strconv.FormatInt(time.Now().Unix()+1, 10))
		}, http.StatusUnauthorized},
	} {
		for _, first := range []int{http.StatusOK, http.StatusInternalServerError} {
			t.Run(c.name+" after "+strconv.Itoa(first), func(t *testing.T) {
				g := aim(t, nil, signature.V1, signature.V1a)
				captured := g.sign("msg_1", g.now(), attackBody)
				g.status.Store(int64(first))
				require.Equal(t, first, g.post(friend, captured))
				g.status.Store(http.StatusOK)
				g.offset.Store(int64(c.after))
				for range 2 {
					assert.Equal(t, c.status, g.post(c.client, c.change(captured)))
				}
				assert.EqualValues(t, 1, g.calls.Load(), "the handler ran for the first only")
				g.offset.Store(int64(max(c.after, 0)))
				g.unharmed()
			})
		}
	}
}

// TestHonestRetries are told from replays by their timestamp.
func TestHonestRetries(t *testing.T) {
	g := aim(t, nil, signature.V1, signature.V1a)
	g.status.Store(http.StatusServiceUnavailable)
	require.Equal(t, http.StatusServiceUnavailable, g.post(friend, g.sign("msg_1", g.now(), attackBody)))
	g.offset.Add(int64(5 * time.Second))
	g.status.Store(http.StatusOK)
	require.Equal(t, http.StatusOK, g.post(another, g.sign("msg_1", g.now(), attackBody)), "it failed before")
	for _, wait := range []time.Duration{time.Second, 5 * time.Minute, 10 * time.Hour} {
		g.offset.Add(int64(wait))
		assert.Equal(t, http.StatusNoContent, g.post(friend, g.sign("msg_1", g.now(), attackBody)), "it was processed before")
	}
	assert.EqualValues(t, 2, g.calls.Load())
}

func chunked(l letter) letter {
	l = l.with("transfer-encoding", "transfer-encoding: chunked")
	l.unframed = true
	l.body = strconv.FormatInt(int64(len(l.body)), 16) + ";ext=1\r\n" + l.body + "\r\n0\r\nwebhook-id: msg_trailer\r\n\r\n"
	return l
}

// TestForgeries change a request that has not been seen yet. None is accepted, and none uses the honest one up.
func TestForgeries(t *testing.T) {
	g := aim(t, nil, signature.V1, signature.V1a)
	at := g.now()
	honest := g.sign("msg_1", at, attackBody)
	stamp := strconv.FormatInt(at.Unix(), 10)
	entries := strings.Fields(honest.value("webhook-signature"))
	require.Len(t, entries, 2)
	v1, v1a := strings.TrimPrefix(entries[0], "v1,"), strings.TrimPrefix(entries[1], "v1a,")
	signatures := func(list string) letter { return honest.with("webhook-signature", "webhook-signature: "+list) }
	mac := func(key []byte) string {
		h := hmac.New(sha256.New, key)
		h.Write([]byte("msg_1." + stamp + "." + attackBody))
		return base64.StdEncoding.EncodeToString(h.Sum(nil))
	}
	public, err := base64.StdEncoding.DecodeString(strings.TrimPrefix(g.keys[1].Public(), "whpk_"))
	require.NoError(t, err)
	body := func(text string) letter { l := honest; l.body = text; return l }
	for name, c := range map[string]struct {
		letter letter
		status []int
	}{
		"another body":              {body(`{"order":2}`), []int{401}},
		"the body and a line feed":  {body(attackBody + "\n"), []int{401}},
		"the same value re-encoded": {body(`{ "order": 1 }`), []int{401}},
		"no body":                   {body(""), []int{401}},

		"no id":                         {honest.with("webhook-id"), []int{401}},
		"no timestamp":                  {honest.with("webhook-timestamp"), []int{401}},
		"no signature":                  {honest.with("webhook-signature"), []int{401}},
		"an empty signature":            {signatures(""), []int{401}},
		"a doubled id":                  {honest.with("webhook-id", "webhook-id: msg_1", "webhook-id: msg_2"), []int{401}},
		"an id doubled in another case": {honest.with("webhook-id", "webhook-id: msg_1", "WEBHOOK-ID: msg_1"), []int{401}},
		"a doubled timestamp":           {honest.with("webhook-timestamp", "webhook-timestamp: "+stamp, "Webhook-Timestamp: "+stamp), []int{401}},
		"a doubled signature":           {honest.with("webhook-signature", "webhook-signature: "+entries[0], "webhook-signature: "+entries[1]), []int{401}},
		"an id with '_' beside it":      {honest.with("webhook_id", "webhook_id: msg_2"), []int{400}},
		"a folded id":                   {honest.with("webhook-id", "webhook-id: msg_1\r\n msg_2"), []int{400, 401}},
		"a space before the colon":      {honest.with("webhook-id", "webhook-id : msg_1"), []int{400}},
		"a NUL in the id":               {honest.with("webhook-id", "webhook-id: msg\x00_1"), []int{400}},
		"a bare carriage return":        {honest.with("webhook-id", "webhook-id: msg_1\rwebhook-id: msg_2"), []int{400, 401}},
		"the id in a trailer":           {chunked(honest.with("webhook-id")), []int{401}},
		"two lengths":                   {honest.with("x", "content-length: 5"), []int{400}},
		"length and chunks":             {chunked(body(`{"order":2}`)).with("x", "content-length: 11"), []int{400, 401}},
		"compressed":                    {honest.with("content-encoding", "content-encoding: gzip"), []int{415}},
		"another method in a header":    {honest.with("x", "x-http-method-override: DELETE"), []int{400}},
		"a client certificate told":     {honest.with("x", "client-cert: :AAAA:"), []int{495}},

		"a timestamp six minutes old":   {g.sign("msg_1", at.Add(-6*time.Minute), attackBody), []int{401}},
		"a timestamp six minutes ahead": {g.sign("msg_1", at.Add(6*time.Minute), attackBody), []int{401}},
		"a timestamp of next year":      {g.sign("msg_1", at.AddDate(1, 0, 0), attackBody), []int{401}},
		"a timestamp with a zero":       {honest.with("webhook-timestamp", "webhook-timestamp: 0"+stamp), []int{401}},
		"a timestamp with a sign":       {honest.with("webhook-timestamp", "webhook-timestamp: +"+stamp), []int{401}},
		"a timestamp out of range":      {honest.with("webhook-timestamp", "webhook-timestamp: 99999999999999999999"), []int{401}},

		"v1 called v1a":                     {signatures("v1a," + v1), []int{401}},
		"v1a called v1":                     {signatures("v1," + v1a), []int{401}},
		"swapped":                           {signatures("v1a," + v1 + " v1," + v1a), []int{401}},
		"signed with the public key":        {signatures("v1," + mac(public)), []int{401}},
		"signed with the public key's text": {signatures("v1," + mac([]byte(g.keys[1].Public()))), []int{401}},
		"signed with an empty key":          {signatures("v1," + mac(nil)), []int{401}},
		"cut":                               {signatures(entries[0][:20]), []int{401}},
		"without padding":                   {signatures(strings.TrimRight(entries[0], "=")), []int{401}},
		"an unknown version":                {signatures("v2," + v1), []int{401}},
		"no version":                        {signatures(v1), []int{401}},
		"no scheme at all, algorithm none":  {signatures("none,"), []int{401}},
		"an upper-case version":             {signatures("V1," + v1), []int{401}},
		"keys of another":                   {aim(t, nil, signature.V1, signature.V1a).sign("msg_1", at, attackBody), []int{401}},
	} {
		t.Run(name, func(t *testing.T) {
			assert.Contains(t, c.status, g.post(friend, c.letter))
			assert.Zero(t, g.calls.Load())
		})
	}
	require.Equal(t, http.StatusOK, g.post(friend, honest.with("webhook-signature",
		"webhook-signature: v9,AAAA "+entries[0]+" nonsense v1,AAAA")), "after all that, the honest one passes, and what is unknown is ignored")
	assert.EqualValues(t, 1, g.calls.Load())
}

// TestBoundedWork counts what an attacker with a good certificate can make the receiver read and allocate.
func TestBoundedWork(t *testing.T) {
	const mebibyte = 1 << 20
	g := aim(t, nil, signature.V1, signature.V1a)
	honest := g.sign("msg_1", g.now(), attackBody)
	v1 := "v1," + base64.StdEncoding.EncodeToString(make([]byte, 32))
	v1a := "v1a," + base64.StdEncoding.EncodeToString(make([]byte, 64))
	list := func(entry string, n int) letter {
		return honest.with("webhook-signature", "webhook-signature: "+strings.TrimSpace(strings.Repeat(entry+" ", n)))
	}
	big := func(n int) letter { l := honest; l.body = strings.Repeat("x", n); return l }
	claims := big(0)
	claims.unframed, claims.header = true, append(claims.header, "content-length: 1000000000000")
	for name, c := range map[string]struct {
		letter    letter
		status    []int
		read      int64 // of the body
		allocated uint64
	}{
		"10,000 signatures":       {list(v1, 10_000), []int{431}, 0, 6 * mebibyte},
		"10,000 short signatures": {list("v1,", 10_000), []int{401}, mebibyte, 2 * mebibyte},
		"10,000 empty signatures": {list("", 10_000), []int{401}, mebibyte, 2 * mebibyte},
		"65 of v1a":               {list(v1a, 65), []int{401}, mebibyte, 2 * mebibyte},
		"64 of v1a":               {list(v1a, 64), []int{401}, mebibyte, 2 * mebibyte},
		"64 of v1":                {list(v1, 64), []int{401}, mebibyte, 2 * mebibyte},
		"20,000 header lines":     {honest.with("x", slicesOf("x: y", 20_000)...), []int{431}, 0, 6 * mebibyte},
		"a header of 2 MiB":       {honest.with("x", "x: "+strings.Repeat("y", 2*mebibyte)), []int{431, 0}, 0, 12 * mebibyte},
		"10 MiB of body":          {big(10 * mebibyte), []int{413}, 0, 2 * mebibyte},
		"10 MiB in one chunk":     {chunked(big(10 * mebibyte)), []int{413}, mebibyte + 64<<10, 8 * mebibyte},
		"10 MiB in chunks of 1":   {crumbs(honest, 2*mebibyte), []int{413}, mebibyte + 64<<10, 8 * mebibyte},
		"the claim of a terabyte": {claims, []int{413}, 0, 2 * mebibyte},
	} {
		t.Run(name, func(t *testing.T) {
			g.read.Store(0)
			allocated := allocation(func() { assert.Contains(t, c.status, g.post(friend, c.letter)) })
			assert.LessOrEqual(t, g.read.Load(), c.read, "bytes read of the body")
			// The letter itself is written by this process as well: its bytes, their copy for the wire and TLS.
			allowed := c.allocated + 4*uint64(len(c.letter.body)+len(strings.Join(c.letter.header, "\r\n")))
			assert.LessOrEqual(t, allocated, allowed, "bytes allocated by both sides")
			assert.Zero(t, g.calls.Load())
		})
	}
	g.unharmed()
}

// crumbs is a body of n bytes in chunks of one byte.
func crumbs(l letter, n int) letter {
	l = l.with("transfer-encoding", "transfer-encoding: chunked")
	l.unframed = true
	l.body = strings.Repeat("1\r\nx\r\n", n) + "0\r\n\r\n"
	return l
}

func slicesOf(line string, n int) []string {
	lines := make([]string, n)
	for i := range lines {
		lines[i] = line
	}
	return lines
}

// allocation is how many bytes the process allocated while f ran.
func allocation(f func()) uint64 {
	var before, after runtime.MemStats
	runtime.ReadMemStats(&before)
	f()
	runtime.ReadMemStats(&after)
	return after.TotalAlloc - before.TotalAlloc
}
