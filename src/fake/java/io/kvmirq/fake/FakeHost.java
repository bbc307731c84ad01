/* SPDX-License-Identifier: Apache-2.0 */
package io.kvmirq.fake;

import io.kvmirq.explain.Answer;
import io.kvmirq.explain.FileAnswer;
import io.kvmirq.fake.arm64.GicHardware;
import io.kvmirq.fake.file.Build;
import io.kvmirq.fake.file.FakeFile;
import io.kvmirq.fake.file.FakeTime;
import io.kvmirq.fake.file.FileTable;
import io.kvmirq.fake.file.Hardware;
import io.kvmirq.fake.file.IrqHardware;
import io.kvmirq.fake.file.KernelOfFile;
import io.kvmirq.fake.file.Ledger;
import io.kvmirq.fake.file.Script;
import io.kvmirq.fake.file.Threads;
import io.kvmirq.fake.file.UserMemory;
import io.kvmirq.fake.file.Work;
import io.kvmirq.fake.posting.PostingMachine;
import java.util.HashMap;
import java.util.Map;
import org.jspecify.annotations.Nullable;

/** The state of one kernel, and the descriptors and memory of the calling process. */
record FakeHost(
        Build build,
        FakeTime time,
        Work work,
        UserMemory memory,
        FileTable files,
        Threads threads,
        Ledger ledger,
        Map<Integer, Script> scripts,
        Rulebook rules,
        IrqHardware hardware)
        implements KernelOfFile {
    FakeHost(Build build, boolean virtualTime) {
        this(build, virtualTime, new Ledger());
    }

    private FakeHost(Build build, boolean virtualTime, Ledger ledger) {
        this(build, new FakeTime(virtualTime, ledger), ledger);
    }

    private FakeHost(Build build, FakeTime time, Ledger ledger) {
        this(
                build,
                time,
                new Work(time, ledger),
                new UserMemory(),
                new FileTable(),
                new Threads(),
                ledger,
                new HashMap<>(),
                new Rulebook(),
                build.arm64()
                        ? new GicHardware(build.hardware() == Hardware.GICV4)
                        : PostingMachine.create(build, time, ledger));
    }

    @Override
    public void note(Answer rule) {
        rules.note(rule);
    }

    @Override
    public int refuse(Answer rule) {
        return rules.refuse(rule);
    }

    @Override
    public @Nullable FakeFile file(int fd) {
        return files.get(fd);
    }

    @Override
    public boolean isFull() {
        return files.isFull();
    }

    @Override
    public int install(FakeFile file) {
        return install(file, 0);
    }

    /** Installs a file at the lowest free descriptor that is not below {@code lowest}. */
    int install(FakeFile file, int lowest) {
        int fd = files.install(file, lowest);
        if (fd < 0) {
            return refuse(FileAnswer.FD_TABLE_FULL);
        }
        note(FileAnswer.FD_LOWEST);
        return fd;
    }

    @Override
    public boolean isForeign() {
        return files.isForeign();
    }
}
