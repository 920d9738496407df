/*
 * A kernel in miniature: a list of processes in initialised data, for tests of memhub.kvm.
 * `kernel` beside it is made of this file and of kernel.ld by
 *
 *   gcc -m64 -Os -gdwarf-4 -ffreestanding -fno-pic -mcmodel=kernel -nostdlib -static -no-pie \
 *       -fno-asynchronous-unwind-tables -fdebug-prefix-map=$PWD=. -Wl,--build-id=none \
 *       -Wl,-z,max-page-size=4096 -Wl,-T,kernel.ld -o kernel kernel.c
 */

typedef int pid_t;
typedef unsigned int uid_t;

struct ucred {
	uid_t		cr_uid;
	uid_t		cr_ruid;
};

enum state { PRS_NEW, PRS_NORMAL, PRS_ZOMBIE };

struct proc {
	struct {
		struct proc	*le_next;
		struct proc	**le_prev;
	} p_list;
	struct ucred	*p_ucred;
	struct proc	*p_pptr;
	pid_t		p_pid;
	enum state	p_state;
	unsigned	p_flag : 3;
	unsigned	p_nice : 6;
	short		p_priority[2];
	union {
		void	*p_wchan;
		long	p_word;
	};
	char		p_comm[20];
};

struct proclist {
	struct proc	*lh_first;
};

static struct ucred root = { 0, 0 };
static struct ucred user = { 1001, 1001 };

extern struct proc proc0, initproc, shell, ps;

struct proc ps = { { 0, &shell.p_list.le_next }, &user, &shell, 42, PRS_NORMAL, 5, 20,
    { -1, 2 }, { (void *)0x1234 }, "ps" };
struct proc shell = { { &ps, &initproc.p_list.le_next }, &user, &initproc, 17, PRS_NORMAL, 1, 0,
    { 0, 0 }, { &ps }, "sh" };
struct proc initproc = { { &shell, &proc0.p_list.le_next }, &root, &proc0, 1, PRS_NORMAL, 0, 0,
    { 0, 0 }, { 0 }, "init" };
struct proc proc0 = { { &initproc, 0 }, &root, 0, 0, PRS_NORMAL, 7, 63, { 0, 0 }, { 0 }, "kernel" };

struct proclist allproc = { &proc0 };
int nprocs = 4;

void
start(void)
{

	for (;;)
		;
}
