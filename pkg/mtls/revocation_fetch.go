package mtls

import (
	"context"
	"crypto/sha256"
	"crypto/x509"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"strings"
	"sync"
	"time"
)

// listKey is one list as signed by one issuer: another one may not put his list into its place.
type listKey struct {
	url    string
	issuer [sha256.Size]byte
}

// held is a list, or why there is no newer one, or both, until it is to be fetched again.
type held struct {
	list    *crl
	err     error
	refresh time.Time
	used    time.Time
}

// crlCache remembers lists within its bounds. The zero value is ready.
type crlCache struct {
	mu    sync.Mutex
	held  map[listKey]*held
	bytes int
}

// get gives what is remembered, and whether that is still to be believed without a look.
func (c *crlCache) get(key listKey, now time.Time) (list *crl, fresh bool, err error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	h := c.held[key]
	if h == nil {
		return nil, false, nil
	}
	h.used = now
	return h.list, now.Before(h.refresh), h.err
}

// put remembers the outcome of a fetch and returns what is known after it. A list outlives a failure, and an older one
// that somebody hands out again: what it withdraws stays withdrawn.
func (c *crlCache) put(key listKey, list *crl, err error, now time.Time) (*crl, error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	refresh := now.Add(crlRetry)
	if old := c.held[key]; old != nil && old.list != nil {
		if err != nil || list.thisUpdate.Before(old.list.thisUpdate) {
			list = old.list
		}
		c.bytes -= old.list.size
	}
	if list != nil {
		c.bytes += list.size
		if until := earlier(list.nextUpdate, now.Add(crlAge)); err == nil && until.After(refresh) {
			refresh = until
		}
	}
	if c.held == nil {
		c.held = make(map[listKey]*held)
	}
	c.held[key] = &held{list: list, err: err, refresh: refresh, used: now}
	for len(c.held) > 1 && (len(c.held) > maxLists || c.bytes > maxHeld) {
		c.evict(key)
	}
	return list, err
}

// evict forgets the list that nobody asked for in the longest time, except the given one.
func (c *crlCache) evict(except listKey) {
	var oldest listKey
	var found *held
	for key, h := range c.held {
		if key != except && (found == nil || h.used.Before(found.used)) {
			oldest, found = key, h
		}
	}
	if found.list != nil {
		c.bytes -= found.list.size
	}
	delete(c.held, oldest)
}

func earlier(a, b time.Time) time.Time {
	if a.Before(b) {
		return a
	}
	return b
}

// listWithin gives one of several sources its share of the time that is left.
func (r *Revocation) listWithin(ctx context.Context, sources int, source string, issuer *x509.Certificate) (*crl, error) {
	if deadline, ok := ctx.Deadline(); ok && sources > 1 {
		share, cancel := context.WithTimeout(ctx, time.Until(deadline)/time.Duration(sources))
		defer cancel()
		ctx = share
	}
	return r.list(ctx, source, issuer)
}

// list gives the list of an issuer at an address; with an error it may give an older one. Everybody who wants it at the same time shares one fetch, which goes
// on when the first one gives up: the next one finds its result.
func (r *Revocation) list(ctx context.Context, source string, issuer *x509.Certificate) (*crl, error) {
	if err := checkSource(source); err != nil {
		return nil, err
	}
	key := listKey{url: source, issuer: sha256.Sum256(issuer.Raw)}
	now := time.Now()
	old, fresh, err := r.lists.get(key, now)
	if fresh {
		return old, err
	}
	flight := r.flights.DoChan(hex.EncodeToString(key.issuer[:])+key.url, func() (any, error) {
		return r.load(context.WithoutCancel(ctx), key, issuer)
	})
	select {
	case result := <-flight:
		list, _ := result.Val.(*crl)
		return list, result.Err
	case <-ctx.Done():
		return old, fmt.Errorf("%s did not answer in time", quoteURL(source))
	}
}

func (r *Revocation) load(ctx context.Context, key listKey, issuer *x509.Certificate) (*crl, error) {
	if list, fresh, err := r.lists.get(key, time.Now()); fresh { // another one was faster
		return list, err
	}
	ctx, cancel := context.WithTimeout(ctx, checkTime)
	defer cancel()
	var list *crl
	raw, err := r.fetch(ctx, key.url)
	if err == nil {
		leave, busy := r.lanes.enter(ctx, key.issuer, len(raw))
		if busy != nil {
			// No fault of the list, so it is not remembered as one: the next check tries again.
			old, _, _ := r.lists.get(key, time.Now())
			return old, fmt.Errorf("%s %w", quoteURL(key.url), busy)
		}
		list, err = parseCRL(raw, issuer)
		leave()
	}
	if err != nil {
		err = fmt.Errorf("%s %w", quoteURL(key.url), err)
	}
	return r.lists.put(key, list, err, time.Now())
}

// fetch gets a list. The error begins with a verb.
func (r *Revocation) fetch(ctx context.Context, source string) ([]byte, error) {
	request, err := http.NewRequestWithContext(ctx, http.MethodGet, source, http.NoBody)
	if err != nil {
		return nil, fmt.Errorf("cannot be asked for: %w", err)
	}
	request.Header.Set("User-Agent", "Handfast")
	response, err := r.client.Do(request)
	if err != nil {
		return nil, fetchError(err)
	}
	defer response.Body.Close() //nolint:errcheck // what was read counts
	switch {
	case response.StatusCode >= 300 && response.StatusCode < 400:
		return nil, fmt.Errorf("answered with a redirect (HTTP %d), which is not followed", response.StatusCode)
	case response.StatusCode != http.StatusOK:
		return nil, fmt.Errorf("answered HTTP %d", response.StatusCode)
	case response.ContentLength > maxCRL:
		return nil, errTooBig
	}
	raw, err := io.ReadAll(io.LimitReader(response.Body, maxCRL+1))
	switch {
	case err != nil:
		return nil, fetchError(err)
	case len(raw) > maxCRL:
		return nil, errTooBig
	default:
		return raw, nil
	}
}

var errTooBig = fmt.Errorf("is larger than %d MiB", maxCRL>>20)

func fetchError(err error) error {
	if forbidden, ok := errors.AsType[*AddressForbiddenError](err); ok {
		return fmt.Errorf("is not fetched: %w", forbidden)
	}
	if isTimeout(err) || errors.Is(err, context.DeadlineExceeded) {
		return fmt.Errorf("did not answer within %s", checkTime)
	}
	if outer, ok := errors.AsType[*url.Error](err); ok {
		err = outer.Err // the address has been said
	}
	return fmt.Errorf("could not be fetched: %w", err)
}

// checkSource judges an address that stands in a certificate.
func checkSource(source string) error {
	u, err := url.Parse(source)
	switch {
	case err != nil || len(source) > maxCRLURL:
		return fmt.Errorf("%s is not an address that can be fetched", quoteURL(source))
	case !strings.EqualFold(u.Scheme, "http"):
		return fmt.Errorf("%s is not fetched, because CRLs are fetched over http only", quoteURL(source))
	case u.Host == "" || u.User != nil || u.Opaque != "":
		return fmt.Errorf("%s is not fetched, because it is no plain http address", quoteURL(source))
	default:
		return nil
	}
}

// quoteURL shows an address, shortened when it is long.
func quoteURL(source string) string {
	const most = 120
	if len(source) > most {
		return fmt.Sprintf("%q…", source[:most])
	}
	return fmt.Sprintf("%q", source)
}
