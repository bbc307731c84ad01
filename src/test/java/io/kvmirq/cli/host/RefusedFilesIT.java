/* SPDX-License-Identifier: Apache-2.0 */
package io.kvmirq.cli.host;

import static org.assertj.core.api.Assertions.assertThat;

import io.kvmirq.cli.Cli;
import io.kvmirq.host.facts.GuestHosts;
import io.kvmirq.host.facts.RecordedHost;
import io.kvmirq.testing.Machine;
import java.nio.file.Files;
import java.nio.file.Path;
import java.nio.file.attribute.PosixFilePermissions;
import java.util.ArrayList;
import java.util.List;
import java.util.Set;
import org.junit.jupiter.api.BeforeEach;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.io.TempDir;

/** The sentences of the packaged command to a user who may not search a directory of a host: root searches each. */
class RefusedFilesIT {
    @TempDir
    private Path temporary;

    @BeforeEach
    void asNobody() {
        Machine.assumeRoot("to become nobody");
        Machine.assumeProgram("setpriv");
    }

    private String said(RecordedHost host, String directory, String... command) throws Exception {
        Files.setPosixFilePermissions(temporary, PosixFilePermissions.fromString("rwxr-xr-x"));
        Path root = Files.createDirectory(temporary.resolve("root"));
        host.writeTo(root);
        Path jar = Files.copy(Cli.jar(), temporary.resolve("kvmirq.jar"));
        Files.setPosixFilePermissions(root.resolve(directory), Set.of());
        List<String> words = new ArrayList<>(List.of(command));
        words.addAll(List.of("--root", root.toString()));
        Cli.Ended ended = Cli.jvm(jar, "-Dkvmirq.cache=" + temporary.resolve("cache"))
                .asNobody()
                .execute(words.toArray(String[]::new));
        return (ended.out() + ended.err()).replaceAll("\\s+", " ");
    }

    @Test
    void fileBelowARefusedDirectoryIsNotSaidToBeAbsent() throws Exception {
        assertThat(said(GuestHosts.of("amd-avic"), "proc/irq", "explain", "0000:00:02.0"))
                .contains("/proc/irq/27/spurious cannot be read by this user")
                .doesNotContain("does not exist");
    }

    @Test
    void refusedListOfDevicesDoesNotSayThatADeviceIsMissing() throws Exception {
        String devices = "sys/bus/pci/devices";
        assertThat(said(GuestHosts.of("amd-avic"), devices, "vfio", "0000:00:02.0"))
                .contains("cannot tell whether PCI device 0000:00:02.0 exists: /" + devices
                        + " cannot be read by this user: run as root");
    }

    /** The device has a line of its own, and its guest the others. */
    @Test
    void refusedDeviceHidesNoGuest() throws Exception {
        RecordedHost host = GuestHosts.of("amd-avic");
        assertThat(said(host, "sys/bus/pci/devices/0000:00:02.0", "explain", "--all"))
                .contains("/sys/bus/pci/devices/0000:00:02.0/vendor cannot be read by this user", "web")
                .doesNotContain("does not exist", "lost");
    }
}
