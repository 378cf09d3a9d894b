"""The part of the plan loop that several threads share: tickets, waiting, waking. LLVM IR.

A stage is split into tickets. One word holds the number of the job (32 bits), how many of its
tickets were taken from behind, and how many are left (16 each); whoever takes a ticket changes it
by compare-and-swap. A worker that was held up between looking and taking fails to take, since the
number of the job has changed: so the caller waits for nobody but those who took a ticket of this
very job. It takes tickets itself until none is left, and a team that never comes costs time, not
progress.

The caller and every other worker take the first ticket that is left, the workers between them the
last one: whoever comes again to the same operands finds those in his caches that he read before.

When a check fails, tickets that nobody took are dropped. The caller then runs the stage once more,
alone, up to the failure, for what it reports: so the first that fails is the same in every run.

A worker without work spins, then sleeps on a counting semaphore: whoever lowers `sleepers` owes as
many tokens. Tokens are kept by a futex (operations 128 and 129: wait and wake, private) or, where
the pool names no futex, by a pipe. All of the system that is needed, the clock included, is called
by addresses which the pool holds, so the code has no undefined symbol on any system. Where the
pool has no clock, 32 relaxations are taken for a microsecond.

Orders follow C++11: a job is published by a sequentially consistent store, so that either the
caller sees the sleeper or the sleeper sees the job.

`<line.slot>` stands for the address of a slot; `codegen.executor` replaces it.
"""

from __future__ import annotations

STAGE = """
define internal i32 @stage(ptr %pool, ptr %record, ptr %scratch, i64 %stride) {
entry:
  %items = load i64, <record.items>
  %workers = load atomic i64, <limits.workers> monotonic, align 8
  %none = icmp eq i64 %workers, 0
  br i1 %none, label %alone, label %try
try:
  %taken = cmpxchg <lock.owner>, i64 0, i64 1 acquire monotonic
  %mine = extractvalue { i64, i1 } %taken, 1
  br i1 %mine, label %publish, label %alone
alone:
  %code.1 = call i32 @whole(ptr %record, ptr %scratch, i64 0, i64 %items)
  ret i32 %code.1
publish:
  %tickets = load i64, <record.tickets>
  store ptr %record, <job.record>
  store ptr %scratch, <job.scratch>
  store i64 %stride, <job.stride>
  store atomic i64 -1, <count.failed> monotonic, align 8
  store atomic i64 %tickets, <count.pending> monotonic, align 8
  %word = load atomic i64, <job.word> monotonic, align 8
  %full = or i64 %word, 4294967295
  %number = add i64 %full, 1
  %job = or i64 %number, %tickets
  store atomic i64 %job, <job.word> seq_cst, align 8
  %others = sub i64 %tickets, 1
  call void @rouse(ptr %pool, <pool.sleep>, i64 %others)
  call void @help(ptr %pool, i64 0)
  call void @join(ptr %pool)
  %failed = load atomic i64, <count.failed> monotonic, align 8
  store atomic i64 0, <lock.owner> release, align 8
  %good = icmp eq i64 %failed, -1
  br i1 %good, label %done, label %bad
bad:
  %step = load i64, <record.step>
  %ticket = lshr i64 %failed, 32
  %behind = add i64 %ticket, 1
  %end.1 = mul i64 %behind, %step
  %end = call i64 @llvm.umin.i64(i64 %end.1, i64 %items)
  %code.2 = call i32 @whole(ptr %record, ptr %scratch, i64 0, i64 %end)
  %again = icmp ne i32 %code.2, 0
  %first = trunc i64 %failed to i32
  %code = select i1 %again, i32 %code.2, i32 %first
  ret i32 %code
done:
  ret i32 0
}

define internal void @help(ptr %pool, i64 %index) {
entry:
  br label %look
look:
  %word = load atomic i64, <job.word> acquire, align 8
  %left = and i64 %word, 65535
  %none = icmp eq i64 %left, 0
  br i1 %none, label %done, label %take
take:
  %end = and i64 %index, 1
  %behind = shl i64 %end, 16
  %change = sub i64 %behind, 1
  %other = add i64 %word, %change
  %result = cmpxchg <job.word>, i64 %word, i64 %other acq_rel monotonic
  %mine = extractvalue { i64, i1 } %result, 1
  br i1 %mine, label %run, label %look
run:
  call void @ticket(ptr %pool, i64 %index, i64 %word)
  br label %look
done:
  ret void
}

define internal void @ticket(ptr %pool, i64 %index, i64 %seen) {
entry:
  %record = load ptr, <job.record>
  %base = load ptr, <job.scratch>
  %stride = load i64, <job.stride>
  %items = load i64, <record.items>
  %step = load i64, <record.step>
  %tickets = load i64, <record.tickets>
  %offset = mul i64 %index, %stride
  %scratch = getelementptr i8, ptr %base, i64 %offset
  %left = and i64 %seen, 65535
  %seen.1 = lshr i64 %seen, 16
  %behind = and i64 %seen.1, 65535
  %rest = sub i64 %tickets, %behind
  %front = sub i64 %rest, %left
  %back = sub i64 %rest, 1
  %odd = trunc i64 %index to i1
  %ticket = select i1 %odd, i64 %back, i64 %front
  %begin = mul i64 %ticket, %step
  %end.1 = add i64 %begin, %step
  %end = call i64 @llvm.umin.i64(i64 %end.1, i64 %items)
  %code = call i32 @whole(ptr %record, ptr %scratch, i64 %begin, i64 %end)
  %good = icmp eq i32 %code, 0
  br i1 %good, label %finish, label %fail
fail:
  %high = shl i64 %ticket, 32
  %low = zext i32 %code to i64
  %found = or i64 %high, %low
  %earlier = atomicrmw umin <count.failed>, i64 %found monotonic
  %word = atomicrmw and <job.word>, i64 -65536 monotonic
  %dropped = and i64 %word, 65535
  br label %finish
finish:
  %extra = phi i64 [ 0, %entry ], [ %dropped, %fail ]
  %fewer = add i64 %extra, 1
  %before = atomicrmw sub <count.pending>, i64 %fewer seq_cst
  %last = icmp eq i64 %before, %fewer
  br i1 %last, label %tell, label %done
tell:
  call void @rouse(ptr %pool, <pool.join>, i64 1)
  br label %done
done:
  ret void
}
"""

WAITING = """
define internal i64 @rest(ptr %pool, i64 %n, i64 %start, i64 %limit) {
entry:
  call void @relax()
  %part = and i64 %n, 31
  %clocked = icmp eq i64 %part, 0
  br i1 %clocked, label %clock, label %same
clock:
  %now = call i64 @now(ptr %pool, i64 %n)
  %first = icmp eq i64 %n, 32
  br i1 %first, label %begun, label %later
begun:
  ret i64 %now
later:
  %spin = load i64, <limits.spin>
  %spent = sub i64 %now, %start
  %tired = icmp uge i64 %spent, %limit
  br i1 %tired, label %tell, label %stay
stay:
  %fresh = icmp ult i64 %spent, %spin
  br i1 %fresh, label %same, label %give
give:
  call void @yield(ptr %pool)
  ret i64 %start
tell:
  ret i64 -1
same:
  ret i64 %start
}

define internal void @join(ptr %pool) {
entry:
  %patience = load i64, <limits.patience>
  br label %look
look:
  %n = phi i64 [ 0, %entry ], [ %n.1, %spin ], [ 0, %wait ]
  %start = phi i64 [ 0, %entry ], [ %start.1, %spin ], [ 0, %wait ]
  %pending = load atomic i64, <count.pending> acquire, align 8
  %ready = icmp eq i64 %pending, 0
  br i1 %ready, label %done, label %spin
spin:
  %n.1 = add i64 %n, 1
  %start.1 = call i64 @rest(ptr %pool, i64 %n.1, i64 %start, i64 %patience)
  %tired = icmp eq i64 %start.1, -1
  br i1 %tired, label %park, label %look
park:
  %enrolled = atomicrmw add <join.sleepers>, i64 1 seq_cst
  %still = load atomic i64, <count.pending> seq_cst, align 8
  %late = icmp eq i64 %still, 0
  br i1 %late, label %withdraw, label %wait
withdraw:
  %lost.1 = call i1 @withdraw(ptr %pool, <pool.join>)
  ret void
wait:
  %lost.2 = call i1 @wait(ptr %pool, <pool.join>)
  br label %look
done:
  ret void
}

define i64 @talweg_work(ptr %pool, i64 %index) {
entry:
  %linger = load i64, <limits.linger>
  br label %work
work:
  call void @help(ptr %pool, i64 %index)
  br label %look
look:
  %n = phi i64 [ 0, %work ], [ %n.1, %spin ]
  %start = phi i64 [ 0, %work ], [ %start.1, %spin ]
  %word = load atomic i64, <job.word> monotonic, align 8
  %left = and i64 %word, 65535
  %ready = icmp ne i64 %left, 0
  br i1 %ready, label %work, label %ask
ask:
  %stop = load atomic i64, <limits.stop> monotonic, align 8
  %ending = icmp ne i64 %stop, 0
  br i1 %ending, label %done, label %spin
spin:
  %n.1 = add i64 %n, 1
  %start.1 = call i64 @rest(ptr %pool, i64 %n.1, i64 %start, i64 %linger)
  %tired = icmp eq i64 %start.1, -1
  br i1 %tired, label %park, label %look
park:
  %enrolled = atomicrmw add <sleep.sleepers>, i64 1 seq_cst
  %word.1 = load atomic i64, <job.word> seq_cst, align 8
  %left.1 = and i64 %word.1, 65535
  %stop.1 = load atomic i64, <limits.stop> seq_cst, align 8
  %either = or i64 %left.1, %stop.1
  %late = icmp ne i64 %either, 0
  br i1 %late, label %withdraw, label %wait
withdraw:
  %lost.1 = call i1 @withdraw(ptr %pool, <pool.sleep>)
  br label %awake
wait:
  %lost.2 = call i1 @wait(ptr %pool, <pool.sleep>)
  br label %awake
awake:
  %lost = phi i1 [ %lost.1, %withdraw ], [ %lost.2, %wait ]
  br i1 %lost, label %done, label %work
done:
  ret i64 0
}

define void @talweg_stop(ptr %pool) {
entry:
  store atomic i64 1, <limits.stop> seq_cst, align 8
  call void @rouse(ptr %pool, <pool.sleep>, i64 4294967295)
  ret void
}

define internal void @rouse(ptr %pool, ptr %semaphore, i64 %most) {
entry:
  br label %look
look:
  %sleepers = load atomic i64, <semaphore.sleepers> seq_cst, align 8
  %none = icmp eq i64 %sleepers, 0
  br i1 %none, label %done, label %take
take:
  %some = call i64 @llvm.umin.i64(i64 %sleepers, i64 %most)
  %others = sub i64 %sleepers, %some
  %result = cmpxchg <semaphore.sleepers>, i64 %sleepers, i64 %others seq_cst monotonic
  %mine = extractvalue { i64, i1 } %result, 1
  br i1 %mine, label %post, label %look
post:
  call void @post(ptr %pool, ptr %semaphore, i64 %some)
  br label %done
done:
  ret void
}

define internal i1 @withdraw(ptr %pool, ptr %semaphore) {
entry:
  br label %look
look:
  %sleepers = load atomic i64, <semaphore.sleepers> seq_cst, align 8
  %none = icmp eq i64 %sleepers, 0
  br i1 %none, label %wait, label %leave
leave:
  %others = sub i64 %sleepers, 1
  %result = cmpxchg <semaphore.sleepers>, i64 %sleepers, i64 %others seq_cst monotonic
  %mine = extractvalue { i64, i1 } %result, 1
  br i1 %mine, label %done, label %look
wait:
  %lost = call i1 @wait(ptr %pool, ptr %semaphore)
  ret i1 %lost
done:
  ret i1 false
}
"""

SYSTEM = """
@tokens = internal constant [64 x i8] zeroinitializer

define internal i64 @now(ptr %pool, i64 %n) {
entry:
  %time = alloca [2 x i64], align 8
  %clock = load ptr, <system.clock>
  %unknown = icmp eq ptr %clock, null
  br i1 %unknown, label %guess, label %ask
guess:
  %nanoseconds = mul i64 %n, 31
  ret i64 %nanoseconds
ask:
  %kind = load i32, <system.kind>
  %done = call i32 %clock(i32 %kind, ptr %time)
  %fraction.p = getelementptr i64, ptr %time, i64 1
  %seconds = load i64, ptr %time
  %fraction = load i64, ptr %fraction.p
  %scaled = mul i64 %seconds, 1000000000
  %sum = add i64 %scaled, %fraction
  ret i64 %sum
}

define internal void @yield(ptr %pool) {
entry:
  %yield = load ptr, <system.yield>
  %unknown = icmp eq ptr %yield, null
  br i1 %unknown, label %done, label %give
give:
  %result = call i32 %yield()
  br label %done
done:
  ret void
}

define internal i1 @wait(ptr %pool, ptr %semaphore) {
entry:
  %byte = alloca i8
  %futex = load i64, <system.futex>
  %call = load ptr, <system.call>
  %reader = load ptr, <system.reader>
  %end = load i32, <semaphore.read>
  %pipe = icmp eq i64 %futex, 0
  br i1 %pipe, label %try, label %look
look:
  %tokens = load atomic i32, <semaphore.tokens> monotonic, align 4
  %none = icmp eq i32 %tokens, 0
  br i1 %none, label %sleep, label %take
sleep:
  %woken = call i64 (i64, ...) %call(i64 %futex, <semaphore.tokens>, i32 128, i32 0, ptr null)
  br label %look
take:
  %less = sub i32 %tokens, 1
  %result = cmpxchg <semaphore.tokens>, i32 %tokens, i32 %less acquire monotonic
  %mine = extractvalue { i32, i1 } %result, 1
  br i1 %mine, label %done, label %look
try:
  %n = phi i64 [ 0, %entry ], [ %n.1, %again ]
  %count = call i64 %reader(i32 %end, ptr %byte, i64 1)
  %low = trunc i64 %count to i32
  %got = icmp eq i32 %low, 1
  br i1 %got, label %done, label %again
again:
  %n.1 = add i64 %n, 1
  %closed = icmp eq i64 %n.1, 64
  br i1 %closed, label %done, label %try
done:
  %lost = phi i1 [ false, %take ], [ false, %try ], [ true, %again ]
  ret i1 %lost
}

define internal void @post(ptr %pool, ptr %semaphore, i64 %some) {
entry:
  %futex = load i64, <system.futex>
  %call = load ptr, <system.call>
  %writer = load ptr, <system.writer>
  %end = load i32, <semaphore.write>
  %pipe = icmp eq i64 %futex, 0
  br i1 %pipe, label %next, label %wake
wake:
  %more = trunc i64 %some to i32
  %before = atomicrmw add <semaphore.tokens>, i32 %more release
  %woken = call i64 (i64, ...) %call(i64 %futex, <semaphore.tokens>, i32 129, i32 %more)
  ret void
next:
  %left = phi i64 [ %some, %entry ], [ %rest, %next ]
  %part = call i64 @llvm.umin.i64(i64 %left, i64 64)
  %written = call i64 %writer(i32 %end, ptr @tokens, i64 %part)
  %rest = sub i64 %left, %part
  %unsaid = icmp ne i64 %rest, 0
  br i1 %unsaid, label %next, label %done
done:
  ret void
}
"""
