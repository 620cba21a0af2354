import JSON
import QAPI
import QMPSchema
import Testing

/// Texts that qemu-storage-daemon 11.1.3 gave to the same arguments.
@Suite struct DecodingErrorTests {
    private func failure(_ type: any QAPIStruct.Type, _ arguments: String) throws -> String? {
        guard case .object(let object) = try JSON(parsing: arguments) else { return "not an object" }
        do {
            _ = try type.init(decoding: object)
            return nil
        } catch {
            return error.description
        }
    }

    static let blockdevAdd: [(arguments: String, message: String?)] = [
        ("{}", "Parameter 'driver' is missing"),
        (#"{"driver": "zzz"}"#, "Parameter 'driver' does not accept value 'zzz'"),
        (#"{"driver": 1}"#, "Invalid parameter type for 'driver', expected: string"),
        (#"{"driver": null}"#, "Invalid parameter type for 'driver', expected: string"),
        (#"{"driver": "file"}"#, "Parameter 'filename' is missing"),
        (#"{"driver": "file", "filename": 1}"#, "Invalid parameter type for 'filename', expected: string"),
        (#"{"driver": "file", "filename": "/x", "zz": 1}"#, "Parameter 'zz' is unexpected"),
        (
            #"{"driver": "file", "filename": "/x", "read-only": "maybe"}"#,
            "Invalid parameter type for 'read-only', expected: boolean"
        ),
        (
            #"{"driver": "file", "filename": "/x", "cache": 1}"#,
            "Invalid parameter type for 'cache', expected: object"
        ),
        (
            #"{"driver": "file", "filename": "/x", "cache": {"direct": 1}}"#,
            "Invalid parameter type for 'cache.direct', expected: boolean"
        ),
        (
            #"{"driver": "file", "filename": "/x", "cache": {"dirct": 1}}"#,
            "Parameter 'cache.dirct' is unexpected"
        ),
        (
            #"{"driver": "file", "filename": "/x", "discard": "zz"}"#,
            "Parameter 'discard' does not accept value 'zz'"
        ),
        (#"{"driver": "raw"}"#, "Parameter 'file' is missing"),
        (#"{"driver": "raw", "file": 1}"#, "Invalid parameter type for 'file', expected: BlockdevRef"),
        (#"{"driver": "raw", "file": null}"#, "Invalid parameter type for 'file', expected: BlockdevRef"),
        (#"{"driver": "raw", "file": {}}"#, "Parameter 'file.driver' is missing"),
        (#"{"driver": "raw", "file": {"driver": "zz"}}"#, "Parameter 'driver' does not accept value 'zz'"),
        (
            #"{"driver": "raw", "file": {"driver": "raw", "file": {"driver": "file"}}}"#,
            "Parameter 'file.file.filename' is missing"
        ),
        (
            #"{"driver": "raw", "file": {"driver": "raw", "file": 1}}"#,
            "Invalid parameter type for 'file', expected: BlockdevRef"
        ),
        (
            #"{"driver": "raw", "file": {"driver": "file", "filename": "x", "foo": 1, "bar": 2}, "zz": 2}"#,
            "Parameter 'file.bar' is unexpected"
        ),
        (#"{"driver": "raw", "file": "a", "size": "x"}"#, "Invalid parameter type for 'size', expected: integer"),
        (#"{"driver": "raw", "file": "a", "size": 1.5}"#, "Invalid parameter type for 'size', expected: integer"),
        (#"{"driver": "raw", "file": "a", "size": -1}"#, nil),
        (
            #"{"driver": "raw", "file": "a", "size": 9223372036854775808}"#,
            "Invalid parameter type for 'size', expected: integer"
        ),
        (
            #"{"driver": "null-co", "size": 18446744073709551616, "node-name": 1}"#,
            "Invalid parameter type for 'node-name', expected: string"
        ),
        (#"{"driver": "null-co", "latency-ns": -1}"#, nil),
        (
            #"{"driver": "blkdebug", "image": "a", "max-transfer": 2147483648}"#,
            "Parameter 'max-transfer' expects int32_t"
        ),
        (
            #"{"driver": "blkdebug", "image": "a", "max-transfer": 9223372036854775808}"#,
            "Invalid parameter type for 'max-transfer', expected: integer"
        ),
        (
            #"{"driver": "blkdebug", "image": "a", "inject-error": [{"event": "none"}, {"event": "zz"}]}"#,
            "Parameter 'event' does not accept value 'zz'"
        ),
        (
            #"{"driver": "blkdebug", "image": "a", "inject-error": [{"event": "none"}, {}]}"#,
            "Parameter 'inject-error[1].event' is missing"
        ),
        (
            #"{"driver": "blkdebug", "image": "a", "inject-error": [{"event": "none"}, 1]}"#,
            "Invalid parameter type for 'inject-error[1]', expected: object"
        ),
        (
            #"{"driver": "blkdebug", "image": "a", "inject-error": {}}"#,
            "Invalid parameter type for 'inject-error', expected: array"
        ),
        (
            #"{"driver": "blkdebug", "image": "a", "inject-error": [{"event": "none", "zz": 1}]}"#,
            "Parameter 'inject-error[0].zz' is unexpected"
        ),
        (
            #"{"driver": "blkdebug", "image": "a", "take-child-perms": ["zz"]}"#,
            "Parameter 'null' does not accept value 'zz'"
        ),
        (
            #"{"driver": "blkdebug", "image": "a", "take-child-perms": [1]}"#,
            "Invalid parameter type for 'take-child-perms[0]', expected: string"
        ),
        (
            #"{"driver": "copy-before-write", "file": "a", "target": "b", "cbw-timeout": -1}"#,
            "Parameter 'cbw-timeout' expects uint32_t"
        ),
        (#"{"driver": "copy-before-write", "file": "a", "target": "b", "min-cluster-size": -1}"#, nil),
    ]

    @Test(arguments: blockdevAdd) func `options of nodes`(arguments: String, message: String?) throws {
        #expect(try failure(BlockdevOptions.self, arguments) == message)
    }

    static let others: [(type: any QAPIStruct.Type, arguments: String, message: String?)] = [
        (QMPNoArguments.self, #"{"x": 1}"#, "Parameter 'x' is unexpected"),
        (QMPNoArguments.self, "{}", nil),
        (
            BlockDirtyBitmapMerge.self, #"{"node": "a", "target": "b", "bitmaps": [1]}"#,
            "Invalid parameter type for 'null', expected: BlockDirtyBitmapOrStr"
        ),
        (
            BlockDirtyBitmapMerge.self, #"{"node": "a", "target": "b", "bitmaps": [{"node": 1}]}"#,
            "Invalid parameter type for 'bitmaps[0].node', expected: string"
        ),
        (
            BlockDirtyBitmapMerge.self, #"{"node": "1", "target": "1", "bitmaps": [], "zz": 1, "aa": 1}"#,
            "Parameter 'aa' is unexpected"
        ),
        (
            BlockDirtyBitmapAdd.self, #"{"node": "a", "name": "b", "granularity": 9223372036854775808}"#,
            "Parameter 'granularity' expects uint32_t"
        ),
        (
            BlockExportOptions.self, #"{"type": "nbd", "id": "a", "node-name": "a", "iothread": 1}"#,
            "Invalid parameter type for 'iothread', expected: BlockExportIothreads"
        ),
        (
            BlockExportOptions.self, #"{"type": "nbd", "id": "a", "node-name": "a", "iothread": [1]}"#,
            "Invalid parameter type for 'iothread[0]', expected: string"
        ),
        (BlockExportOptions.self, #"{"type": "nbd", "id": "a", "node-name": "a", "iothread": []}"#, nil),
        (NbdServerOptionsLegacy.self, #"{"addr": {"type": "inet"}}"#, "Parameter 'addr.data' is missing"),
        (
            NbdServerOptionsLegacy.self, #"{"addr": {"type": "inet", "data": {}}}"#,
            "Parameter 'addr.data.host' is missing"
        ),
        (
            NbdServerOptionsLegacy.self,
            #"{"addr": {"type": "inet", "data": {"host": "a", "port": "1", "to": 65536}}}"#,
            "Parameter 'to' expects uint16_t"
        ),
        (
            ObjectOptions.self, #"{"qom-type": "throttle-group", "id": "a", "limits": {"bps-total": "x"}}"#,
            "Invalid parameter type for 'limits.bps-total', expected: integer"
        ),
        (ObjectOptions.self, #"{"qom-type": "iothread"}"#, "Parameter 'id' is missing"),
        (
            BlockdevReopen.self, #"{"options": [{"driver": "file", "x": 1}]}"#,
            "Parameter 'options[0].filename' is missing"
        ),
        (QomSetArguments.self, #"{"path": "/", "property": "a", "value": null}"#, nil),
    ]

    @Test(arguments: others) func `arguments of other commands`(
        type: any QAPIStruct.Type, arguments: String, message: String?
    ) throws {
        #expect(try failure(type, arguments) == message)
    }

    static let commandLine: [(text: String, message: String?)] = [
        ("", "Parameter 'driver' is missing"),
        ("a", "Parameter 'driver' does not accept value 'a'"),
        ("file,", "Parameter 'filename' is missing"),
        ("file,filename=x,read-only=maybe", "Parameter 'read-only' expects 'on' or 'off'"),
        ("null-co,read-only=1", "Parameter 'read-only' expects 'on' or 'off'"),
        ("null-co,read-only=y", nil),
        ("raw,file.driver=file", "Parameter 'file.filename' is missing"),
        ("raw,file.0=a", "Invalid parameter type for 'file', expected: BlockdevRef"),
        ("null-co,size=1K", "Parameter 'size' expects integer"),
        ("null-co,size=0x10", nil),
        ("null-co,latency-ns=-1", nil),
        ("null-co,size.0=a", "Parameters 'size.*' are unexpected"),
        ("null-co,read-only.0=a", "Parameters 'read-only.*' are unexpected"),
        ("null-co,detect-zeroes.0=on", "Parameters 'detect-zeroes.*' are unexpected"),
        ("driver.x=a", "Parameters 'driver.*' are unexpected"),
        ("null-co,cache.0=a", "Invalid parameter type for 'cache', expected: object"),
        ("null-co,cache=none", "Invalid parameter type for 'cache', expected: object"),
        ("null-co,cache.direct=x", "Parameter 'cache.direct' expects 'on' or 'off'"),
        ("null-co,bad.x=1", "Parameter 'bad' is unexpected"),
        ("null-co,node-name=a,bad.x=1,worse=2", "Parameter 'worse' is unexpected"),
        ("null-co,node-name=a,zzz=1,aaa=2,mmm=3", "Parameter 'mmm' is unexpected"),
        ("null-co,node-name=a,d1=1,c1=2,b1=3,a1=1", "Parameter 'd1' is unexpected"),
        ("blkdebug,image=a,inject-error.event=none", "Invalid parameter type for 'inject-error', expected: array"),
        ("blkdebug,image=a,inject-error.0.zz=zz", "Parameter 'inject-error.0.event' is missing"),
        ("blkdebug,image=a,inject-error.0=1", "Invalid parameter type for 'inject-error.0', expected: object"),
        (
            "blkdebug,image=a,inject-error.0.event=none,inject-error.0.state=x",
            "Parameter 'inject-error.0.state' expects integer"
        ),
        ("blkdebug,image=a,take-child-perms.0=zz", "Parameter 'null' does not accept value 'zz'"),
        ("blkdebug,image=a,take-child-perms.0.x=zz", "Parameters 'take-child-perms.0.*' are unexpected"),
        ("blkdebug,image=a,max-transfer=4294967296", "Parameter 'max-transfer' expects int32_t"),
        ("copy-before-write,file=a,target=b,min-cluster-size=1.5K", nil),
        ("copy-before-write,file=a,target=b,min-cluster-size=-1", "Parameter 'min-cluster-size' expects size"),
        ("copy-before-write,file=a,target=b,cbw-timeout=-1", "Parameter 'cbw-timeout' expects uint32_t"),
        ("copy-before-write,file=a,target=b,bitmap=x", "Invalid parameter type for 'bitmap', expected: object"),
    ]

    @Test(arguments: commandLine) func `options of nodes on the command line`(text: String, message: String?) {
        var found: String?
        do {
            _ = try Keyval.decode(BlockdevOptions.self, from: text, impliedKey: "driver") { _ throws(QMPError) in [:] }
        } catch {
            found = error.description
        }
        #expect(found == message)
    }
}
