package rotation

// Lose takes note that a key was lost together with its bucket: as [Board.Remove], but what comes next is counted from
// the beginning.
func (b *Board) Lose(key string) {
	if name, err := ParseAssignmentKey(key); err == nil {
		b.mu.Lock()
		defer b.mu.Unlock()
		i := b.identity(name)
		i.assigned, i.assignment, i.revision, i.unreadable = false, Assignment{}, 0, false
		b.announce()
		return
	}
	if name, partition, at, err := ParseStatusKey(key); err == nil && partition == b.endpoints.Partition(at) {
		b.mu.Lock()
		defer b.mu.Unlock()
		delete(b.identity(name).statuses, at)
		b.announce()
	}
}
