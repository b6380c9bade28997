package endpoint

// Lose takes note that an endpoint's document was lost together with its store, whose revisions begin again: the endpoint
// stays as it was, because nobody has deleted it, and the next document is taken whatever its revision. It reports
// whether there is such an endpoint.
func (r *Registry) Lose(k Key) bool {
	r.writers.Lock()
	defer r.writers.Unlock()
	t, ok := r.tenant(k.Tenant)
	if !ok {
		return false
	}
	old := *t.list.Load()
	at, known := search(old, k.Name)
	if known {
		entry := old[at]
		entry.Revision = 0
		t.replace(old, at, entry)
	}
	return known
}
