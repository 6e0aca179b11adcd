//go:build !linux

package blackbox

import "syscall"

func child() *syscall.SysProcAttr { return nil }
