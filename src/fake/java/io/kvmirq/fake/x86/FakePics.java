/* SPDX-License-Identifier: Apache-2.0 */
package io.kvmirq.fake.x86;

import io.kvmirq.explain.ChipAnswer;

/** Both in-kernel PICs, their ports and their output to the processors; source: arch/x86/kvm/i8259.c. */
final class FakePics {
    static final int MASTER = 0;
    static final int SLAVE = 1;
    /** The master's pin that the slave drives. */
    static final int CASCADE = 2;

    private static final int MASTER_PORT = 0x20;
    private static final int SLAVE_PORT = 0xa0;
    /** The port of ELCR, which selects edge or level for each pin. */
    private static final int TRIGGER_PORT = 0x4d0;

    /** The pin of a spurious interrupt, whose request was withdrawn. */
    private static final int SPURIOUS = 7;

    private final X86Vm vm;
    private final FakePic master;
    private final FakePic slave;
    private boolean output;

    FakePics(X86Vm vm) {
        this.vm = vm;
        this.master = new FakePic(vm, this, MASTER, 0xf8);
        this.slave = new FakePic(vm, this, SLAVE, 0xde);
    }

    FakePic get(int chip) {
        return chip == MASTER ? master : slave;
    }

    /** Sets a line. */
    int set(int chip, int pin, int source, boolean level) {
        int result = get(chip).set(pin, source, level);
        update();
        return result;
    }

    /** Pulses the master's cascade pin if the slave has a request. Raises the output if the master has one. */
    void update() {
        if (slave.highest() != FakePic.NONE) {
            vm.note(ChipAnswer.PIC_CASCADE);
            master.drive(CASCADE, true);
            master.drive(CASCADE, false);
        }
        boolean before = output;
        output = master.highest() != FakePic.NONE;
        if (output && !before) {
            vm.lapics().wakeForPic();
        }
    }

    /** Whether the output to the processors is raised. */
    boolean output() {
        return output;
    }

    boolean isProgrammed() {
        return master.isProgrammed();
    }

    /** The processor acknowledges the interrupt; returns its vector. */
    int acknowledge() {
        vm.note(ChipAnswer.PIC_TAKEN);
        output = false;
        int pin = master.highest();
        int vector = master.vector(pin == FakePic.NONE ? SPURIOUS : pin);
        if (pin != FakePic.NONE) {
            master.acknowledge(pin);
        }
        if (pin == CASCADE) {
            int other = slave.highest();
            vector = slave.vector(other == FakePic.NONE ? SPURIOUS : other);
            if (other != FakePic.NONE) {
                slave.acknowledge(other);
            }
        }
        update();
        return vector;
    }

    /** Ends the interrupts in service by nonspecific EOIs, for a guest with one interrupt at a time. */
    void endAll() {
        int nonspecific = 0x20;
        slave.writeCommand(nonspecific);
        master.writeCommand(nonspecific);
    }

    // Ports

    /** Whether the PICs handle an access. They accept 2-byte accesses and ignore them. */
    static boolean has(int port, int size) {
        int first = port & ~1;
        boolean known = first == MASTER_PORT || first == SLAVE_PORT || first == TRIGGER_PORT;
        return known && port + size <= first + 2;
    }

    void write(int port, int size, int value) {
        if (size != 1) {
            return;
        }
        vm.note(ChipAnswer.PIC_PORTS);
        switch (port) {
            case MASTER_PORT -> master.writeCommand(value & 0xff);
            case MASTER_PORT + 1 -> master.writeData(value);
            case SLAVE_PORT -> slave.writeCommand(value & 0xff);
            case SLAVE_PORT + 1 -> slave.writeData(value);
            default -> get(port & 1).setTrigger(value);
        }
    }

    int read(int port, int size) {
        if (size != 1) {
            return 0;
        }
        return (port & ~1) == TRIGGER_PORT
                ? get(port & 1).trigger()
                : get(port >= SLAVE_PORT ? SLAVE : MASTER).read((port & 1) == 1);
    }
}
