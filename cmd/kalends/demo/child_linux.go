package demo

import "syscall"

// childAttributes lets a server end with the demo, even when the demo is
// killed.
func childAttributes() *syscall.SysProcAttr { return &syscall.SysProcAttr{Pdeathsig: syscall.SIGTERM} }
