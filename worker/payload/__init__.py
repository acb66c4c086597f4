"""A frame's payload -> the image in it, and what stands beside it.

reader      the one way in: pictures as they are, in HTTP's parts (multipart), in JSON (envelope), as text
text        base64 and data URIs; spellings and escapes know what else bytes are written as
metadata    frame id and times, from JSON and from user properties; moment reads a time
contents    what was found, and how pictures begin
"""
