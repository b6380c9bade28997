package system

import "syscall"

// ownGroup puts a process into a group of its own, to be killed as one, and ends it when this test binary dies without
// cleaning up.
func ownGroup() *syscall.SysProcAttr {
	return &syscall.SysProcAttr{Setpgid: true, Pdeathsig: syscall.SIGKILL}
}
