package ledgertest

import (
	"errors"
	"fmt"
	"os"
	"os/exec"
	"runtime"
	"strings"
	"syscall"
	"testing"
	"unsafe"

	"golang.org/x/sys/unix"
)

// Call is a system call by which a supervised process changes a file. The
// process waits until it is answered.
type Call struct {
	Op     Op
	Path   string // of the file, Stdout for the standard output; of an OpRename, the old name
	To     string // of an OpRename, the new name
	Data   []byte // of an OpWrite
	Offset int64  // of an OpWrite; -1 at the file's own offset
	Size   int64  // of an OpTruncate

	fd int // of the process
}

// Op is what a system call does.
type Op string

// The calls that are supervised. An OpOpen is one that may create a file.
const (
	OpOpen     Op = "open"
	OpWrite    Op = "write"
	OpTruncate Op = "truncate"
	OpAllocate Op = "allocate"
	OpSync     Op = "sync"
	OpRename   Op = "rename"
	OpRemove   Op = "remove"
)

// Stdout is the path of what a process prints, which is supervised too: so it
// is known what it had done when it said so.
const Stdout = "stdout"

// Answer is what becomes of a call. The zero value lets it happen.
type Answer struct {
	Done  bool          // it does not happen (any more): the process is told that it succeeded,
	Error syscall.Errno // or, when not 0, that it failed with this
}

// Happen lets the call happen now and returns what answers it, so that it is
// over when the handler returns.
func (c *Call) Happen() Answer {
	err := c.do()
	var errno syscall.Errno
	switch {
	case errors.As(err, &errno):
		return Answer{Done: true, Error: errno}
	case err != nil:
		return Answer{Done: true, Error: syscall.EIO}
	}
	return Answer{Done: true}
}

func (c *Call) do() error {
	switch c.Op {
	case OpRename:
		return os.Rename(c.Path, c.To)
	case OpRemove:
		return os.Remove(c.Path)
	case OpOpen:
		return fmt.Errorf("an open cannot happen outside of its process")
	}
	flags := os.O_WRONLY
	switch {
	case c.Op == OpSync:
		flags = os.O_RDONLY // it may be a folder
	case c.Offset < 0:
		flags |= os.O_APPEND // nobody seeks
	}
	f, err := os.OpenFile(c.Path, flags, 0)
	if err != nil {
		return err
	}
	switch c.Op {
	case OpTruncate:
		err = f.Truncate(c.Size)
	case OpSync:
		err = f.Sync()
	case OpWrite:
		if c.Offset < 0 {
			_, err = f.Write(c.Data)
		} else {
			_, err = f.WriteAt(c.Data, c.Offset)
		}
	default:
		err = unix.ENOSYS
	}
	return errors.Join(err, f.Close())
}

const supervised = "LEDGERTEST_SUPERVISED"

// Supervised must be the first thing that TestMain calls where Supervise is
// used: in the process that Supervise starts it puts itself under supervision
// and becomes the command. Elsewhere it does nothing.
func Supervised() {
	if os.Getenv(supervised) == "" {
		return
	}
	if err := becomeSupervised(os.Args[1:]); err != nil {
		fmt.Fprintln(os.Stderr, "supervise:", err)
		os.Exit(125)
	}
}

// becomeSupervised puts a filter on this thread that makes the kernel ask the
// parent about the calls, hands the parent the means to answer, and executes
// the command, which inherits the filter.
func becomeSupervised(argv []string) error {
	runtime.LockOSThread()
	if err := unix.Prctl(unix.PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0); err != nil {
		return fmt.Errorf("give up new privileges: %w", err)
	}
	listener, err := installFilter()
	if err != nil {
		return fmt.Errorf("filter system calls: %w", err)
	}
	if err := unix.Sendmsg(3, []byte{0}, unix.UnixRights(listener), nil, 0); err != nil {
		return fmt.Errorf("hand over the filter: %w", err)
	}
	unix.CloseOnExec(3)
	// Preemption by signals would interrupt calls that wait for their answer.
	env := []string{"GODEBUG=asyncpreemptoff=1"}
	for _, v := range os.Environ() {
		if !strings.HasPrefix(v, supervised+"=") {
			env = append(env, v)
		}
	}
	return syscall.Exec(argv[0], argv, env)
}

func installFilter() (listener int, err error) {
	const (
		load    = unix.BPF_LD | unix.BPF_W | unix.BPF_ABS
		equal   = unix.BPF_JMP | unix.BPF_JEQ | unix.BPF_K
		hasBits = unix.BPF_JMP | unix.BPF_JSET | unix.BPF_K
		give    = unix.BPF_RET | unix.BPF_K
		number  = 0       // offsets in struct seccomp_data
		flags   = 16 + 16 // the low half of the third argument
	)
	calls := []uint32{unix.SYS_WRITE, unix.SYS_PWRITE64, unix.SYS_FTRUNCATE, unix.SYS_FALLOCATE,
		unix.SYS_FSYNC, unix.SYS_FDATASYNC, unix.SYS_RENAMEAT, unix.SYS_UNLINKAT}
	filter := []unix.SockFilter{{Code: load, K: number}}
	for i, call := range calls {
		filter = append(filter, unix.SockFilter{Code: equal, Jt: uint8(len(calls)-i-1) + 4, K: call})
	}
	filter = append(filter,
		unix.SockFilter{Code: equal, Jf: 2, K: unix.SYS_OPENAT},
		unix.SockFilter{Code: load, K: flags},
		unix.SockFilter{Code: hasBits, Jt: 1, K: unix.O_CREAT},
		unix.SockFilter{Code: give, K: unix.SECCOMP_RET_ALLOW},
		unix.SockFilter{Code: give, K: unix.SECCOMP_RET_USER_NOTIF},
	)
	program := unix.SockFprog{Len: uint16(len(filter)), Filter: &filter[0]}
	for _, flags := range []uintptr{unix.SECCOMP_FILTER_FLAG_NEW_LISTENER | unix.SECCOMP_FILTER_FLAG_WAIT_KILLABLE_RECV, unix.SECCOMP_FILTER_FLAG_NEW_LISTENER} {
		fd, _, errno := syscall.RawSyscall(unix.SYS_SECCOMP, unix.SECCOMP_SET_MODE_FILTER, flags, uintptr(unsafe.Pointer(&program)))
		if errno == 0 {
			return int(fd), nil
		}
		err = errno
	}
	return -1, err
}

// Supervise runs cmd to its end and has handle answer every system call by
// which it changes files below dir, one after the other. It returns what
// cmd.Wait does. No privileges are needed, and no tool: the kernel asks by
// seccomp's user notification (Linux 5.6).
func Supervise(t testing.TB, cmd *exec.Cmd, dir string, handle func(*Call) Answer) error {
	t.Helper()
	ends, err := unix.Socketpair(unix.AF_UNIX, unix.SOCK_STREAM|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		t.Fatalf("supervise: %v", err)
	}
	theirs := os.NewFile(uintptr(ends[1]), "supervisor")
	defer unix.Close(ends[0])
	if cmd.Env == nil {
		cmd.Env = os.Environ()
	}
	cmd.Env = append(cmd.Env, supervised+"=1")
	cmd.Args = append([]string{os.Args[0], cmd.Path}, cmd.Args[1:]...)
	cmd.Path = os.Args[0]
	cmd.ExtraFiles = []*os.File{theirs}
	err = cmd.Start()
	theirs.Close()
	if err != nil {
		t.Fatalf("supervise: %v", err)
	}
	listener, err := receiveFile(ends[0])
	if err != nil {
		_ = cmd.Process.Kill()
		t.Fatalf("supervise: the process did not put itself under supervision: %v, %v", err, cmd.Wait())
	}
	s := &supervisor{listener: listener, process: cmd.Process.Pid, dir: dir, handle: handle}
	done := make(chan error, 1)
	go func() { done <- s.run() }()
	waited := cmd.Wait()
	if err := <-done; err != nil {
		t.Errorf("supervise: %v", err)
	}
	unix.Close(listener)
	return waited
}

func receiveFile(socket int) (int, error) {
	oob := make([]byte, unix.CmsgSpace(4))
	n, oobn, _, _, err := unix.Recvmsg(socket, make([]byte, 1), oob, unix.MSG_CMSG_CLOEXEC)
	if err != nil {
		return -1, err
	}
	if n == 0 {
		return -1, errors.New("it ended")
	}
	messages, err := unix.ParseSocketControlMessage(oob[:oobn])
	if err != nil || len(messages) == 0 {
		return -1, fmt.Errorf("no file came: %w", err)
	}
	files, err := unix.ParseUnixRights(&messages[0])
	if err != nil {
		return -1, err
	}
	return files[0], nil
}

// notification and response are struct seccomp_notif and seccomp_notif_resp.
type notification struct {
	id     uint64
	thread uint32
	_      uint32
	call   int32
	_      uint32
	_      uint64
	args   [6]uint64
}

type response struct {
	id    uint64
	value int64
	error int32
	flags uint32
}

type supervisor struct {
	listener int
	process  int
	dir      string
	handle   func(*Call) Answer
}

// run answers until the process has ended.
func (s *supervisor) run() error {
	for {
		poll := []unix.PollFd{{Fd: int32(s.listener), Events: unix.POLLIN}}
		if _, err := unix.Poll(poll, -1); errors.Is(err, unix.EINTR) {
			continue
		} else if err != nil {
			return fmt.Errorf("wait for a call: %w", err)
		}
		if poll[0].Revents&unix.POLLIN == 0 {
			return nil // all its threads have ended
		}
		var n notification
		switch err := s.ioctl(unix.SECCOMP_IOCTL_NOTIF_RECV, unsafe.Pointer(&n)); {
		case errors.Is(err, unix.ENOENT) || errors.Is(err, unix.EINTR):
			continue // killed, or interrupted, meanwhile
		case err != nil:
			return fmt.Errorf("receive a call: %w", err)
		}
		r, err := s.answer(&n)
		if err != nil {
			return err
		}
		if err := s.ioctl(unix.SECCOMP_IOCTL_NOTIF_SEND, unsafe.Pointer(&r)); err != nil && !errors.Is(err, unix.ENOENT) {
			return fmt.Errorf("answer a call: %w", err)
		}
	}
}

func (s *supervisor) ioctl(request uintptr, arg unsafe.Pointer) error {
	if _, _, errno := syscall.Syscall(unix.SYS_IOCTL, uintptr(s.listener), request, uintptr(arg)); errno != 0 {
		return errno
	}
	return nil
}

func (s *supervisor) answer(n *notification) (response, error) {
	r := response{id: n.id, flags: unix.SECCOMP_USER_NOTIF_FLAG_CONTINUE}
	c, err := s.read(n)
	if err != nil {
		if s.ioctl(unix.SECCOMP_IOCTL_NOTIF_ID_VALID, unsafe.Pointer(&r.id)) != nil {
			return r, nil // the process was killed while its arguments were read
		}
		return r, err
	}
	if c == nil {
		return r, nil
	}
	switch a := s.handle(c); {
	case a.Error != 0:
		r.flags, r.error = 0, -int32(a.Error)
	case a.Done:
		r.flags, r.value = 0, int64(len(c.Data))
	}
	return r, nil
}

// read makes a Call of a notification; nil when it is about a file elsewhere.
func (s *supervisor) read(n *notification) (*Call, error) {
	c := &Call{fd: int(int32(n.args[0])), Offset: -1}
	switch n.call {
	case unix.SYS_WRITE:
		c.Op = OpWrite
	case unix.SYS_PWRITE64:
		c.Op, c.Offset = OpWrite, int64(n.args[3])
	case unix.SYS_FTRUNCATE:
		c.Op, c.Size = OpTruncate, int64(n.args[1])
	case unix.SYS_FALLOCATE:
		c.Op = OpAllocate
	case unix.SYS_FSYNC, unix.SYS_FDATASYNC:
		c.Op = OpSync
	case unix.SYS_RENAMEAT:
		c.Op = OpRename
	case unix.SYS_UNLINKAT:
		c.Op = OpRemove
	case unix.SYS_OPENAT:
		c.Op = OpOpen
	}
	var err error
	switch c.Op {
	case OpOpen, OpRemove:
		c.Path, err = s.text(n, n.args[1])
	case OpRename:
		if c.Path, err = s.text(n, n.args[1]); err == nil {
			c.To, err = s.text(n, n.args[3])
		}
	default:
		if c.Path, err = os.Readlink(fmt.Sprintf("/proc/%d/fd/%d", s.process, c.fd)); errors.Is(err, os.ErrNotExist) {
			return nil, nil // a closed file: the kernel refuses the call
		}
	}
	if err != nil {
		return nil, fmt.Errorf("which file a %s is of: %w", c.Op, err)
	}
	if c.Op == OpWrite && c.fd == 1 {
		c.Path = Stdout
	}
	if c.Path != Stdout && !strings.HasPrefix(c.Path, s.dir) {
		return nil, nil
	}
	if c.Op == OpWrite {
		if c.Data, err = s.memory(n, n.args[1], int(n.args[2])); err != nil {
			return nil, fmt.Errorf("what is written: %w", err)
		}
	}
	return c, nil
}

func (s *supervisor) memory(n *notification, at uint64, size int) ([]byte, error) {
	if size == 0 {
		return nil, nil
	}
	b := make([]byte, size)
	local := []unix.Iovec{{Base: &b[0]}}
	local[0].SetLen(size)
	got, err := unix.ProcessVMReadv(int(n.thread), local, []unix.RemoteIovec{{Base: uintptr(at), Len: size}}, 0)
	if err == nil && got < size {
		err = fmt.Errorf("%d of %d bytes", got, size)
	}
	return b, err
}

// text reads a C string, page by page: the page after its end may not exist.
func (s *supervisor) text(n *notification, at uint64) (string, error) {
	var text []byte
	for len(text) < unix.PathMax {
		part, err := s.memory(n, at, 4096-int(at%4096))
		if err != nil {
			return "", err
		}
		for i, c := range part {
			if c == 0 {
				return string(append(text, part[:i]...)), nil
			}
		}
		text, at = append(text, part...), at+uint64(len(part))
	}
	return "", errors.New("a path without an end")
}
