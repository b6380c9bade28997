//go:build !linux

package system

import "syscall"

// ownGroup puts a process into a group of its own, to be killed as one.
func ownGroup() *syscall.SysProcAttr { return &syscall.SysProcAttr{Setpgid: true} }
