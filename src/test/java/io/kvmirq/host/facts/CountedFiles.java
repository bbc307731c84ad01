/* SPDX-License-Identifier: Apache-2.0 */
package io.kvmirq.host.facts;

import io.kvmirq.backend.HostFiles;
import java.lang.reflect.InvocationTargetException;
import java.lang.reflect.Proxy;
import java.util.List;

/** Files of a host that note the paths whose content is read. */
public final class CountedFiles {
    private CountedFiles() {}

    /** @param read gets a path for each time that its content is read */
    public static HostFiles of(HostFiles tree, List<String> read) {
        return (HostFiles) Proxy.newProxyInstance(
                HostFiles.class.getClassLoader(), new Class<?>[] {HostFiles.class}, (self, method, arguments) -> {
                    if (method.getName().equals("bytes") || method.getName().equals("open")) {
                        read.add((String) arguments[0]);
                    }
                    try {
                        return method.invoke(tree, arguments);
                    } catch (InvocationTargetException e) {
                        throw e.getCause();
                    }
                });
    }
}
