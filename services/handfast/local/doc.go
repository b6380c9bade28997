// Package local runs a whole Handfast in one process: an embedded NATS server, a development authority, one signer and
// one dispatcher, wired exactly as the services are on their own. The demo and development use it.
//
// What it keeps lies in one directory: the streams, the authority, the client identity and the master key, each readable
// by its owner only. Started again on the same directory, it goes on where it stopped.
//
// It must never be given to the internet: the embedded server has no users, and everything holds every secret.
package local
