//go:build cgo

package token

import (
	"errors"
	"fmt"
	"os"
	"strings"
	"time"

	"github.com/ThalesGroup/crypto11"
	"github.com/miekg/pkcs11"
)

// sessionWait is how long a signature waits for a free session.
const sessionWait = 5 * time.Second

// login loads the module and opens the token.
func login(config Config, secret pin) (module *crypto11.Context, err error) {
	if _, err := os.Stat(config.Module); err != nil {
		return nil, fmt.Errorf("the PKCS#11 module cannot be loaded: %w", err)
	}
	defer func() {
		// crypto11 panics over a token that allows a single session.
		if problem := recover(); problem != nil {
			module, err = nil, fmt.Errorf("%s cannot be used, it has to allow at least %d sessions: %v", config.tokenName(), minSessions, problem)
		}
	}()
	module, err = crypto11.Configure(&crypto11.Config{
		Path: config.Module, TokenLabel: config.Token, TokenSerial: config.Serial, Pin: *secret.text,
		MaxSessions: config.sessions(), PoolWaitTimeout: sessionWait,
	})
	return module, inWords(config, err)
}

// inWords says what a module's return code means, and whether opening the token
// again may help. Codes that are not told apart keep their names.
func inWords(config Config, err error) error {
	if err == nil {
		return nil
	}
	var code pkcs11.Error
	if !errors.As(err, &code) {
		return withoutCode(config, err)
	}
	switch uint(code) {
	case pkcs11.CKR_PIN_INCORRECT, pkcs11.CKR_PIN_INVALID, pkcs11.CKR_PIN_LEN_RANGE:
		return fmt.Errorf("%w: %s refused the PIN from %s; it is not tried again until it is changed there, because tokens lock themselves after a few wrong ones",
			errPIN, config.tokenName(), config.PIN)
	case pkcs11.CKR_PIN_LOCKED, pkcs11.CKR_PIN_EXPIRED, pkcs11.CKR_USER_PIN_NOT_INITIALIZED:
		return fmt.Errorf("%w: the PIN of %s is locked, expired or not set (%w); its security officer sets a new one", errPIN, config.tokenName(), code)
	case pkcs11.CKR_TOKEN_NOT_PRESENT, pkcs11.CKR_TOKEN_NOT_RECOGNIZED, pkcs11.CKR_DEVICE_REMOVED, pkcs11.CKR_SLOT_ID_INVALID:
		return fmt.Errorf("%w: %s was removed (%w)", errLost, config.tokenName(), code)
	case pkcs11.CKR_SESSION_CLOSED, pkcs11.CKR_SESSION_HANDLE_INVALID, pkcs11.CKR_USER_NOT_LOGGED_IN,
		pkcs11.CKR_CRYPTOKI_NOT_INITIALIZED, pkcs11.CKR_KEY_HANDLE_INVALID, pkcs11.CKR_OBJECT_HANDLE_INVALID:
		return fmt.Errorf("%w: the session with %s ended, as after a restart of it (%w)", errLost, config.tokenName(), code)
	case pkcs11.CKR_DEVICE_ERROR, pkcs11.CKR_DEVICE_MEMORY, pkcs11.CKR_GENERAL_ERROR, pkcs11.CKR_FUNCTION_FAILED, pkcs11.CKR_HOST_MEMORY:
		return fmt.Errorf("%w: %s reports a fault of its own (%w)", errLost, config.tokenName(), code)
	case pkcs11.CKR_SESSION_COUNT:
		return fmt.Errorf("%w: %s has no session left; lower sessions here, or close those of other programs (%w)", errBusy, config.tokenName(), code)
	default:
		return fmt.Errorf("%s refused: %w", config.tokenName(), err)
	}
}

// withoutCode knows the errors that crypto11 makes itself, which only their
// texts tell apart.
func withoutCode(config Config, err error) error {
	text := err.Error()
	switch {
	case strings.Contains(text, "could not find PKCS#11 token"):
		return fmt.Errorf("%w: there is no %s in any slot of %q; see pkcs11-tool --module … --list-slots", errLost, config.tokenName(), config.Module)
	case strings.Contains(text, "failed to open module"):
		return fmt.Errorf("%q cannot be loaded as a PKCS#11 module: is it one, and for this processor?", config.Module)
	case strings.Contains(text, "context is closed"), strings.Contains(text, "closed Context"):
		return fmt.Errorf("%w: %s was closed", errLost, config.tokenName())
	case strings.Contains(text, "timed out"):
		return fmt.Errorf("%w: all %d sessions with %s were busy for %s; raise sessions if it allows more",
			errBusy, config.sessions()-1, config.tokenName(), sessionWait)
	default:
		return fmt.Errorf("%s: %w", config.tokenName(), err)
	}
}
