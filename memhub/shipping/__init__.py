"""Where audit logs go: followed as they grow, and sent to other systems.

sentence   a record as one readable line        otlp        records as OpenTelemetry logs
parts      the files of a log in their order    otlp_http   sends these to an endpoint
part_file  the lines of one file, as it grows   otlp_file   writes them to a file
follow     the lines of a log, as it grows      journal     records as journal entries, and sends
places     the end of a log, and a record in it lnav        a log format for lnav
export     from a log to a target, in batches   state_file  how far that has come
retry      when an attempt is repeated          failure     why a log could not be sent
"""
