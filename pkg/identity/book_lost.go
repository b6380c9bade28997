package identity

import (
	"context"
	"fmt"
)

// Lose takes note that an entry was lost together with its bucket: as [Book.Remove], but what comes next is counted from
// the beginning.
func (b *Book) Lose(ctx context.Context, key string) {
	b.Remove(ctx, key)
	b.writing.Lock()
	defer b.writing.Unlock()
	name, err := nameIn(recordPrefix, key)
	if err != nil {
		return
	}
	if s := b.slot(name); s != nil {
		s.held.Store(&held{removed: true, problem: fmt.Errorf("%s was lost with its bucket: create or import it again", identityLabel(name))})
	}
}
