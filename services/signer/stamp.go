package signer

import (
	"errors"
	"fmt"

	"github.com/handfast/handfast/pkg/delivery"
	"github.com/handfast/handfast/pkg/seal"
)

// stampPurpose keeps these stamps apart from any other use of the master key.
const stampPurpose = "payload of a delivery"

// stampParts is what a stamp is made for. The endpoint is a part of its own, because a record says both: the id of one
// endpoint's delivery must not get its payload signed with the keys of another.
func stampParts(d delivery.Delivery, content string, body []byte) [][]byte {
	return [][]byte{[]byte(d.ID), []byte(d.Endpoint.String()), []byte(content), body}
}

// stamp says that a signer has built this payload for this delivery. Who only passes payloads on, as dispatchers do,
// cannot make one, and so cannot have a payload of his own signed.
func (s *Signer) stamp(d delivery.Delivery, content string, body []byte) (string, error) {
	stamp, err := seal.Vault(s.config.Vault).Stamp(stampPurpose, stampParts(d, content, body)...)
	if err != nil {
		return "", fmt.Errorf("stamp the payload of %s: %w", d.ID, err)
	}
	return stamp, nil
}

// inline makes the payload that travels with a record.
func (s *Signer) inline(d delivery.Delivery, of payload) (*delivery.Inline, error) {
	stamp, err := s.stamp(d, of.content, of.body)
	if err != nil {
		return nil, err
	}
	return &delivery.Inline{ContentType: of.content, Body: of.body, Type: of.kind, Source: of.source, ID: of.id, Stamp: stamp}, nil
}

// carried is the payload that a record has brought along. A stamp that cannot be checked here, because its master key is
// not held, lets the delivery wait; one that does not fit makes it a [lostError].
func (s *Signer) carried(d delivery.Delivery, in *delivery.Inline) (payload, error) {
	err := seal.Vault(s.config.Vault).CheckStamp(in.Stamp, stampPurpose, stampParts(d, in.ContentType, in.Body)...)
	if errors.Is(err, seal.ErrCorrupt) {
		return payload{}, &lostError{"the payload that its record carries was not built by a signer for this delivery, so somebody else has written it: " + err.Error()}
	}
	if err != nil {
		return payload{}, fmt.Errorf("payload of %s: %w", d.ID, err)
	}
	return payload{body: in.Body, content: in.ContentType, kind: in.Type, source: in.Source, id: in.ID}, nil
}
