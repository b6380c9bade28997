package seal

// CauseError is what a caller may have to decide on when something does not open.
// The causes are constants, so that nobody can change one and packages that seal
// their own things can give them on under their own names.
type CauseError string

// The closed list of causes. Every error of this package wraps one of them
// (errors.Is); none ever carries a secret.
const (
	// ErrInvalidMasterKey means that a master key could not be read: its format,
	// its length, or the permissions of its file.
	ErrInvalidMasterKey CauseError = "invalid master key"
	// ErrWrongMasterKey means that the envelope was sealed under a master key
	// that we do not hold. The sealed bytes may be perfectly fine.
	ErrWrongMasterKey CauseError = "sealed under another master key"
	// ErrCorrupt means that the sealed bytes were changed, cut, or sealed for
	// another place.
	ErrCorrupt CauseError = "sealed data is damaged or belongs to another place"
	// ErrNoContext means that the place to which a secret shall be bound was not
	// named, which is a mistake of the program.
	ErrNoContext CauseError = "the context is empty"
)

// Error is the cause in words.
func (e CauseError) Error() string { return string(e) }
