// Runs in CloudFront before each request: who has no key ends here, and so many of a hundred go to the service.
import cf from 'cloudfront';
import crypto from 'crypto';

const KEY = '${api_key_sha256}'; // SHA-256 in hexadecimal; empty leaves it to the back ends
const MESSAGE = "incorrect or missing API key; send it as 'Authorization: Bearer KEY' or as 'x-api-key: KEY'"; // the server's
const PERCENT = ${fargate_percent};

function given(headers) {
    if (headers['x-api-key']) return headers['x-api-key'].value;
    const words = headers.authorization ? headers.authorization.value.split(' ') : [];
    return words.length === 2 && words[0].toLowerCase() === 'bearer' ? words[1] : '';
}

function handler(event) {
    const request = event.request;
    if (KEY && crypto.createHash('sha256').update(given(request.headers)).digest('hex') !== KEY) {
        const error = {message: MESSAGE, type: 'invalid_request_error', param: null, code: 'invalid_api_key'};
        return {
            statusCode: 401,
            statusDescription: 'Unauthorized',
            headers: {'content-type': {value: 'application/json'}, 'www-authenticate': {value: 'Bearer'}},
            body: {encoding: 'text', data: JSON.stringify({error: error})},
        };
    }
    cf.selectRequestOriginById(Math.random() * 100 < PERCENT ? 'fargate' : 'lambda');
    return request;
}
