/* Preloaded into user-mode Linux: it sets the registers of its processes in the size that it was built for, and
 * Linux takes them in that of the processor only (xstateregs_set, arch/x86/kernel/fpu/regset.c). Processors with AMX
 * have larger ones. What it does not know is in its first state there, as in a process that never used it. */

#define _GNU_SOURCE
#include <dlfcn.h>
#include <elf.h>
#include <stdarg.h>
#include <string.h>
#include <sys/ptrace.h>
#include <sys/types.h>
#include <sys/uio.h>

static long (*libc_ptrace)(int, pid_t, void *, void *);
static char all[65536];

static __attribute__((constructor)) void find(void) {
	libc_ptrace = (long (*)(int, pid_t, void *, void *))dlsym(RTLD_NEXT, "ptrace");
}

long ptrace(enum __ptrace_request request, ...) {
	va_list words;
	va_start(words, request);
	pid_t pid = va_arg(words, pid_t);
	void *addr = va_arg(words, void *);
	void *data = va_arg(words, void *);
	va_end(words);
	if (request == PTRACE_SETREGSET && addr == (void *)NT_X86_XSTATE) {
		struct iovec *given = data;
		struct iovec whole = {all, sizeof all};
		if (!libc_ptrace(PTRACE_GETREGSET, pid, addr, &whole) && whole.iov_len > given->iov_len) {
			memcpy(all, given->iov_base, given->iov_len);
			memset(all + given->iov_len, 0, whole.iov_len - given->iov_len);
			return libc_ptrace(request, pid, addr, &whole);
		}
	}
	return libc_ptrace(request, pid, addr, data);
}
