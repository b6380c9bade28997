// Package receipt records what happened at one attempt, so that it can be proved later: the outcome and how it is
// known, the certificate of each side, the keys that signed, and the trace in which it all stands. A receipt never
// holds a byte of the payload, a signature or a key.
package receipt
